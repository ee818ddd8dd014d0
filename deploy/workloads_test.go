package deploy

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// eachContainer gives every container of every workload of every overlay.
func eachContainer(t *testing.T, do func(t *testing.T, b built, w workload, c corev1.Container)) {
	t.Helper()
	for _, overlay := range overlays {
		b := build(t, overlay)
		for _, w := range b.workloads {
			if len(w.pod.InitContainers)+len(w.pod.EphemeralContainers) > 0 {
				t.Errorf("%s: %s has containers that no test looks at", overlay, w.name)
			}
			for _, c := range w.pod.Containers {
				t.Run(path.Base(overlay)+"/"+w.name+"/"+c.Name, func(t *testing.T) { do(t, b, w, c) })
			}
		}
	}
}

func TestNoContainerHasMorePowerThanItNeeds(t *testing.T) {
	t.Parallel()
	eachContainer(t, func(t *testing.T, _ built, w workload, c corev1.Container) {
		pod, own := w.pod.SecurityContext, c.SecurityContext
		switch {
		case pod == nil || own == nil:
			t.Fatal("no security context")
		case pod.RunAsNonRoot == nil || !*pod.RunAsNonRoot, pod.RunAsUser == nil || *pod.RunAsUser != 65532, pod.RunAsGroup == nil || *pod.RunAsGroup != 65532:
			t.Error("it may run as root, or as another user than the image's")
		case own.RunAsNonRoot != nil || own.RunAsUser != nil || own.RunAsGroup != nil:
			t.Error("the container has its own user")
		}
		if pod.SeccompProfile == nil || pod.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Error("no seccomp profile of the runtime")
		}
		if own.ReadOnlyRootFilesystem == nil || !*own.ReadOnlyRootFilesystem {
			t.Error("its image can be written to")
		}
		if own.AllowPrivilegeEscalation == nil || *own.AllowPrivilegeEscalation {
			t.Error("it may gain privileges")
		}
		if own.Privileged != nil && *own.Privileged {
			t.Error("it is privileged")
		}
		if own.Capabilities == nil || !slices.Equal(own.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(own.Capabilities.Add) > 0 {
			t.Error("it keeps capabilities")
		}
		if w.pod.HostNetwork || w.pod.HostPID || w.pod.HostIPC {
			t.Error("it shares the host's network or processes")
		}
		if w.pod.AutomountServiceAccountToken == nil || *w.pod.AutomountServiceAccountToken {
			t.Error("it gets a token for the Kubernetes API")
		}
		if w.pod.EnableServiceLinks == nil || *w.pod.EnableServiceLinks {
			t.Error("the cluster may put variables of services into its environment, where flags are read from")
		}
		for _, v := range w.pod.Volumes {
			if v.HostPath != nil {
				t.Errorf("the volume %s is of the host", v.Name)
			}
		}
	})
}

func TestEveryContainerSaysWhatItTakes(t *testing.T) {
	t.Parallel()
	eachContainer(t, func(t *testing.T, b built, _ workload, c corev1.Container) {
		for _, r := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			asks, most := c.Resources.Requests[r], c.Resources.Limits[r]
			if asks.IsZero() || most.IsZero() || asks.Cmp(most) > 0 {
				t.Errorf("%s: got request %v and limit %v", r, &asks, &most)
			}
		}
		name, tag, ok := strings.Cut(c.Image, ":")
		if !ok || name != "chuishao/dispatch" || tag == "" || tag == "latest" {
			t.Errorf("got image %q, want chuishao/dispatch of one version", c.Image)
		}
		if got := memoryLimit(b, c); got <= 0 || got > c.Resources.Limits.Memory().Value()*3/4 {
			t.Errorf("GOMEMLIMIT is %d bytes of %v; a quarter at least is for what the runtime does not count", got, c.Resources.Limits.Memory())
		}
	})
}

// memoryLimit is GOMEMLIMIT in bytes, 0 if it is not set in MiB.
func memoryLimit(b built, c corev1.Container) int64 {
	limit, err := strconv.ParseInt(strings.TrimSuffix(environment(b, c)["GOMEMLIMIT"], "MiB"), 10, 64)
	if err != nil {
		return 0
	}
	return limit << 20
}

// environment is what a container finds in its environment and the manifests say in clear; of what a secret says, the key.
func environment(b built, c corev1.Container) map[string]string {
	env := map[string]string{}
	for _, from := range c.EnvFrom {
		if from.ConfigMapRef != nil && b.configMaps[from.ConfigMapRef.Name] != nil {
			maps.Copy(env, b.configMaps[from.ConfigMapRef.Name].Data)
		}
	}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	return env
}

func TestProbesReachTheContainer(t *testing.T) {
	t.Parallel()
	eachContainer(t, func(t *testing.T, _ built, _ workload, c corev1.Container) {
		for name, probe := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
			switch {
			case probe == nil:
				t.Errorf("no %s probe", name)
				continue
			case probe.GRPC != nil:
				t.Errorf("the %s probe is of gRPC, which is secured here; the kubelet speaks it in clear", name)
				continue
			case probe.HTTPGet == nil:
				t.Errorf("the %s probe asks nothing", name)
				continue
			}
			// Who has the history has no other beside it to take commands while it builds a new view; and however long that takes, it has started.
			want := "/healthz"
			if name == "readiness" && flagOf(c, "data") == "" {
				want = "/readyz"
			}
			if probe.HTTPGet.Path != want || portNamed(c, probe.HTTPGet.Port.String()) == 0 {
				t.Errorf("the %s probe asks %s of port %s", name, probe.HTTPGet.Path, probe.HTTPGet.Port.String())
			}
		}
		if c.StartupProbe != nil && time.Duration(c.StartupProbe.PeriodSeconds*c.StartupProbe.FailureThreshold)*time.Second < 5*time.Minute {
			t.Error("a start may take five minutes, on a large history or while servers elect")
		}
		for _, port := range []string{"grpc", "http"} {
			if at := flagOf(c, port); at != "" && at != ":"+strconv.Itoa(int(portNamed(c, port))) {
				t.Errorf("--%s is %s, the port of that name %d", port, at, portNamed(c, port))
			}
		}
	})
}

func TestAPodIsGivenTimeToEndItsCalls(t *testing.T) {
	t.Parallel()
	eachContainer(t, func(t *testing.T, _ built, w workload, c corev1.Container) {
		var leave, drain time.Duration
		if text := flagOf(c, "drain"); text != "" {
			var err error
			if drain, err = time.ParseDuration(text); err != nil {
				t.Fatal(err)
			}
		}
		if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
			if c.Lifecycle.PreStop.Sleep == nil {
				t.Fatal("the image has no shell for a preStop hook")
			}
			leave = time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second
		}
		if slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == "grpc" }) && (drain == 0 || leave == 0) {
			t.Errorf("callers get %v to learn that it goes and %v to end", leave, drain)
		}
		// Serve drains calls, then the server of probes, as long each; closing takes its own time.
		if grace := time.Duration(*w.pod.TerminationGracePeriodSeconds) * time.Second; grace < leave+2*drain+10*time.Second {
			t.Errorf("it is killed after %v; it needs %v, twice %v and 10 s", grace, leave, drain)
		}
	})
}

// What an argument names lies in something that is mounted, what is mounted is there, and what can be written to is no more than is needed.
func TestFilesThatArgumentsNameAreMounted(t *testing.T) {
	t.Parallel()
	eachContainer(t, func(t *testing.T, b built, w workload, c corev1.Container) {
		volumes := map[string]corev1.VolumeSource{}
		for _, v := range w.pod.Volumes {
			volumes[v.Name] = v.VolumeSource
		}
		for _, claim := range w.claims {
			volumes[claim.Name] = corev1.VolumeSource{PersistentVolumeClaim: new(corev1.PersistentVolumeClaimVolumeSource)}
		}
		mounted := map[string]corev1.VolumeSource{}
		for _, m := range c.VolumeMounts {
			v, ok := volumes[m.Name]
			if !ok {
				t.Errorf("%s is mounted, and no volume of that name is there", m.Name)
			}
			mounted[m.MountPath] = v
			delete(volumes, m.Name)
			if v.Secret != nil && !m.ReadOnly {
				t.Errorf("%s could be written to", m.MountPath)
			}
		}
		for name := range volumes {
			t.Errorf("nothing mounts the volume %s", name)
		}
		if mounted["/tmp"].EmptyDir == nil || mounted["/tmp"].EmptyDir.SizeLimit.IsZero() {
			t.Error("nothing, or no limit, is at /tmp")
		}
		env := environment(b, c)
		named := slices.Collect(maps.Values(env))
		for _, a := range c.Args {
			if _, value, ok := strings.Cut(a, "="); ok {
				named = append(named, value)
			}
		}
		for _, n := range named {
			if !strings.HasPrefix(n, "/") {
				continue
			}
			at := slices.ContainsFunc(slices.Collect(maps.Keys(mounted)), func(m string) bool { return n == m || strings.HasPrefix(n, m+"/") })
			if !at {
				t.Errorf("%s lies in nothing that is mounted", n)
			}
		}
		for _, from := range c.EnvFrom {
			if from.ConfigMapRef == nil || b.configMaps[from.ConfigMapRef.Name] == nil {
				t.Errorf("the environment comes from %+v, which the overlay does not make", from)
			}
		}
	})
}

func TestEmbeddedIsOnePodThatNeverMeetsASecond(t *testing.T) {
	t.Parallel()
	b := build(t, embedded)
	if len(b.workloads) != 1 || len(b.statefulSets) != 1 || b.workloads[0].replicas != 1 || b.workloads[0].pod.Containers[0].Command[0] != "/dispatcher" {
		t.Fatalf("got %d workloads, want one StatefulSet of one dispatcher", len(b.workloads))
	}
	s := b.statefulSets[0]
	if keep := s.Spec.PersistentVolumeClaimRetentionPolicy; keep == nil || keep.WhenDeleted != appsv1.RetainPersistentVolumeClaimRetentionPolicyType || keep.WhenScaled != appsv1.RetainPersistentVolumeClaimRetentionPolicyType {
		t.Error("the history goes with the StatefulSet")
	}
	if len(s.Spec.VolumeClaimTemplates) != 1 {
		t.Fatalf("got %d claims, want 1", len(s.Spec.VolumeClaimTemplates))
	}
	claim := s.Spec.VolumeClaimTemplates[0].Spec
	if !slices.Equal(claim.AccessModes, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod}) || claim.Resources.Requests.Storage().IsZero() {
		t.Errorf("got %+v, want a volume of one pod, with a size", claim)
	}
	if data := flagOf(s.Spec.Template.Spec.Containers[0], "data"); !strings.HasPrefix(data, s.Spec.Template.Spec.Containers[0].VolumeMounts[0].MountPath+"/") || s.Spec.Template.Spec.Containers[0].VolumeMounts[0].Name != "data" {
		t.Errorf("--data %s is not below the volume", data)
	}
	if s.Spec.ServiceName != "dispatcher" {
		t.Errorf("its service is %q", s.Spec.ServiceName)
	}
}

func TestAClusterIsUpdatedAndDrainedWithoutAPause(t *testing.T) {
	t.Parallel()
	b := build(t, cluster)
	got := map[string]int32{}
	for _, d := range b.deployments {
		got[d.Name] = *d.Spec.Replicas
		if r := d.Spec.Strategy.RollingUpdate; r == nil || r.MaxUnavailable.IntValue() != 0 || r.MaxSurge.IntValue() < 1 {
			t.Errorf("%s: an update takes pods away before others are there", d.Name)
		}
		spread := map[string]bool{}
		for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
			spread[c.TopologyKey] = selects(t, c.LabelSelector, d.Spec.Template.Labels)
		}
		if !spread["topology.kubernetes.io/zone"] || !spread["kubernetes.io/hostname"] {
			t.Errorf("%s: its pods may lie on one machine or in one zone: %v", d.Name, spread)
		}
		budgets := 0
		for _, p := range b.budgets {
			if selects(t, p.Spec.Selector, d.Spec.Template.Labels) {
				budgets++
				if p.Spec.MaxUnavailable == nil || p.Spec.MaxUnavailable.IntValue() < 1 || p.Spec.MaxUnavailable.IntValue() >= int(*d.Spec.Replicas) {
					t.Errorf("%s: its budget lets %v of %d pods go; a machine must be drainable, and one pod stay", d.Name, p.Spec.MaxUnavailable, *d.Spec.Replicas)
				}
			}
		}
		if budgets != 1 {
			t.Errorf("%s has %d disruption budgets, want 1", d.Name, budgets)
		}
	}
	if len(b.workloads) != 2 || got["dispatcher"] < 2 || got["projector"] < 2 {
		t.Errorf("got %v, want two dispatchers and two projectors at least", got)
	}
	if len(b.budgets) != len(b.deployments) {
		t.Errorf("got %d budgets for %d workloads", len(b.budgets), len(b.deployments))
	}
}

// Who does not write has no business with keys or the bus; and a process whose store was forgotten must not begin an empty one of its own.
func TestInAClusterStoresComeFromTheSecretAlone(t *testing.T) {
	t.Parallel()
	want := map[string][]string{"dispatcher": {"CHUISHAO_BUS", "CHUISHAO_KEYS", "CHUISHAO_STORE", "CHUISHAO_VIEWS"}, "projector": {"CHUISHAO_STORE", "CHUISHAO_VIEWS"}}
	for _, w := range build(t, cluster).workloads {
		c := w.pod.Containers[0]
		var got []string
		for _, e := range c.Env {
			if e.ValueFrom == nil {
				continue
			}
			from := e.ValueFrom.SecretKeyRef
			if from == nil || from.Name != "chuishao-stores" || from.Optional != nil || "CHUISHAO_"+strings.ToUpper(from.Key) != e.Name {
				t.Errorf("%s: %s comes from %+v", w.name, e.Name, e.ValueFrom)
			}
			got = append(got, e.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, want[w.name]) {
			t.Errorf("%s has %v, want %v", w.name, got, want[w.name])
		}
		if flagOf(c, "data") != "" {
			t.Errorf("%s has a data directory", w.name)
		}
	}
}

func TestServicesAndSelectorsMeetTheirPods(t *testing.T) {
	t.Parallel()
	for _, overlay := range overlays {
		b := build(t, overlay)
		for _, w := range b.workloads {
			if !selects(t, w.selector, w.labels) {
				t.Errorf("%s: %s does not select its own pods", overlay, w.name)
			}
			for _, other := range b.workloads {
				if other.name != w.name && selects(t, w.selector, other.labels) {
					t.Errorf("%s: %s selects pods of %s", overlay, w.name, other.name)
				}
			}
		}
		if len(b.services) == 0 {
			t.Errorf("%s: no service", overlay)
		}
		for _, s := range b.services {
			if s.Spec.ClusterIP != corev1.ClusterIPNone {
				t.Errorf("%s: %s is not headless, so a caller's connection stays with one pod", overlay, s.Name)
			}
			met := 0
			for _, w := range b.workloads {
				if !labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(w.labels)) {
					continue
				}
				met++
				for _, p := range s.Spec.Ports {
					if at := portNamed(w.pod.Containers[0], p.TargetPort.String()); at == 0 || at != p.Port {
						t.Errorf("%s: port %d of the service %s leads to %d", overlay, p.Port, s.Name, at)
					}
				}
			}
			if met != 1 {
				t.Errorf("%s: the service %s meets %d workloads", overlay, s.Name, met)
			}
		}
	}
}

// selects tells whether a selector, which must not select everything, meets pods with these labels.
func selects(t *testing.T, by *metav1.LabelSelector, pod map[string]string) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(by)
	if err != nil {
		t.Fatal(err)
	}
	return !selector.Empty() && selector.Matches(labels.Set(pod))
}

// portNamed is the number of a container's port, or 0.
func portNamed(c corev1.Container, name string) int32 {
	for _, p := range c.Ports {
		if p.Name == name {
			return p.ContainerPort
		}
	}
	return 0
}

// flagOf is the value of a flag in a container's arguments, or "".
func flagOf(c corev1.Container, name string) string {
	for _, a := range c.Args {
		if value, ok := strings.CutPrefix(a, "--"+name+"="); ok {
			return value
		}
	}
	return ""
}
