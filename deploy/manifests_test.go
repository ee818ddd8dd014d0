package deploy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	kustomize "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// The overlays that a city chooses from.
const (
	embedded = "k8s/overlays/embedded"
	cluster  = "k8s/overlays/cluster"
)

// overlays are all there are; a test compares them with the folder.
var overlays = []string{embedded, cluster}

// decoder knows the types that manifests may be of, and refuses fields that those do not have and fields that stand twice.
var decoder = sync.OnceValues(func() (runtime.Decoder, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer(), nil
})

// decode gives the objects of a YAML file.
func decode(t *testing.T, name string, text []byte) []runtime.Object {
	t.Helper()
	d, err := decoder()
	if err != nil {
		t.Fatal(err)
	}
	var objects []runtime.Object
	documents := yamlutil.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		object, _, err := d.Decode(document, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, document)
		}
		objects = append(objects, object)
	}
}

// built is an overlay as it would be applied, by kind.
type built struct {
	name         string
	objects      []runtime.Object
	workloads    []workload
	services     []*corev1.Service
	configMaps   map[string]*corev1.ConfigMap
	policies     []*networkingv1.NetworkPolicy
	budgets      []*policyv1.PodDisruptionBudget
	statefulSets []*appsv1.StatefulSet
	deployments  []*appsv1.Deployment
}

// workload is what a StatefulSet and a Deployment have in common.
type workload struct {
	name     string
	replicas int32
	selector *metav1.LabelSelector
	labels   map[string]string
	pod      corev1.PodSpec
	claims   []corev1.PersistentVolumeClaim
}

func build(t *testing.T, overlay string) built {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), overlay)
	if err != nil {
		t.Fatalf("%s: %v", overlay, err)
	}
	text, err := resources.AsYaml()
	if err != nil {
		t.Fatalf("%s: %v", overlay, err)
	}
	b := built{name: overlay, objects: decode(t, overlay, text), configMaps: map[string]*corev1.ConfigMap{}}
	for _, object := range b.objects {
		switch o := object.(type) {
		case *appsv1.StatefulSet:
			b.statefulSets = append(b.statefulSets, o)
			b.workloads = append(b.workloads, workload{o.Name, *o.Spec.Replicas, o.Spec.Selector, o.Spec.Template.Labels, o.Spec.Template.Spec, o.Spec.VolumeClaimTemplates})
		case *appsv1.Deployment:
			b.deployments = append(b.deployments, o)
			b.workloads = append(b.workloads, workload{o.Name, *o.Spec.Replicas, o.Spec.Selector, o.Spec.Template.Labels, o.Spec.Template.Spec, nil})
		case *corev1.Service:
			b.services = append(b.services, o)
		case *corev1.ConfigMap:
			b.configMaps[o.Name] = o
		case *networkingv1.NetworkPolicy:
			b.policies = append(b.policies, o)
		case *policyv1.PodDisruptionBudget:
			b.budgets = append(b.budgets, o)
		case *corev1.Namespace, *corev1.ServiceAccount:
		default:
			t.Errorf("%s: a %T is made that no test looks at", overlay, o)
		}
	}
	if len(b.workloads) == 0 {
		t.Fatalf("%s makes no workload", overlay)
	}
	return b
}

func TestEveryManifestIsOfAKnownTypeWithoutUnknownFields(t *testing.T) {
	t.Parallel()
	found := 0
	err := filepath.WalkDir("k8s", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(name) != ".yaml" {
			return err
		}
		found++
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if filepath.Base(name) == "kustomization.yaml" {
			if err := yaml.UnmarshalStrict(text, new(kustomize.Kustomization)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return nil
		}
		if len(decode(t, name, text)) == 0 {
			t.Errorf("%s holds nothing", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		t.Fatal("no manifests found")
	}
}

func TestEveryFileOfManifestsIsUsed(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	var use func(dir string)
	use = func(dir string) {
		text, err := os.ReadFile(filepath.Join(dir, "kustomization.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var k kustomize.Kustomization
		if err := yaml.UnmarshalStrict(text, &k); err != nil {
			t.Fatal(err)
		}
		used[filepath.Join(dir, "kustomization.yaml")] = true
		for _, r := range k.Resources {
			path := filepath.Join(dir, r)
			if filepath.Ext(path) == ".yaml" {
				used[path] = true
				continue
			}
			use(path)
		}
	}
	for _, overlay := range overlays {
		use(overlay)
	}
	err := filepath.WalkDir("k8s", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Ext(name) == ".yaml" && !used[name] {
			t.Errorf("%s: no overlay uses it", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEverythingLiesInTheNamespace(t *testing.T) {
	t.Parallel()
	for _, overlay := range overlays {
		for _, object := range build(t, overlay).objects {
			if space, ok := object.(*corev1.Namespace); ok {
				if space.Name != "chuishao" || space.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
					t.Errorf("%s: got namespace %s with %v, want chuishao, restricted", overlay, space.Name, space.Labels)
				}
				continue
			}
			if o := object.(metav1.Object); o.GetNamespace() != "chuishao" {
				t.Errorf("%s: %T %s is in namespace %q", overlay, o, o.GetName(), o.GetNamespace())
			}
		}
	}
}

// A value that opens something never stands in the repository: secrets are named, and made by whoever runs the cluster.
func TestNoSecretIsCommitted(t *testing.T) {
	t.Parallel()
	for _, overlay := range overlays {
		b := build(t, overlay)
		for _, object := range b.objects {
			if s, ok := object.(*corev1.Secret); ok {
				t.Errorf("%s makes the secret %s", overlay, s.Name)
			}
		}
		for _, w := range b.workloads {
			for _, c := range w.pod.Containers {
				for _, text := range append(append([]string{}, c.Args...), c.Command...) {
					if strings.Contains(text, "://") {
						t.Errorf("%s: %s has %q as an argument, where everybody who lists processes reads it", overlay, w.name, text)
					}
				}
				for _, e := range c.Env {
					if strings.Contains(e.Value, "://") {
						t.Errorf("%s: %s has %s in clear", overlay, w.name, e.Name)
					}
				}
			}
		}
		for _, m := range b.configMaps {
			for name, value := range m.Data {
				if strings.Contains(value, "://") {
					t.Errorf("%s: %s of the map %s belongs in a secret", overlay, name, m.Name)
				}
			}
		}
	}
}
