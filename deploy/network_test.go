package deploy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// ways are what policies let in or out of the pods with these labels, as "peer:port", sorted.
func ways(t *testing.T, b built, pod map[string]string, to networkingv1.PolicyType) (found []string, closed bool) {
	t.Helper()
	for _, p := range b.policies {
		selector, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(p.Spec.PolicyTypes, to) || !selector.Matches(labels.Set(pod)) {
			continue
		}
		closed = true
		add := func(peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) {
			if len(peers) == 0 || len(ports) == 0 {
				t.Errorf("%s: the policy %s opens every peer or every port", b.name, p.Name)
			}
			for _, peer := range peers {
				if peer.IPBlock != nil || peer.PodSelector != nil || peer.NamespaceSelector == nil || len(peer.NamespaceSelector.MatchLabels) == 0 {
					t.Errorf("%s: the policy %s names the peer %+v", b.name, p.Name, peer)
					continue
				}
				for _, port := range ports {
					found = append(found, fmt.Sprintf("%s:%s/%s", plain(peer.NamespaceSelector.MatchLabels), port.Port, strings.ToLower(string(*port.Protocol))))
				}
			}
		}
		for _, rule := range p.Spec.Ingress {
			if to == networkingv1.PolicyTypeIngress {
				add(rule.From, rule.Ports)
			}
		}
		for _, rule := range p.Spec.Egress {
			if to == networkingv1.PolicyTypeEgress {
				add(rule.To, rule.Ports)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found), closed
}

func plain(set map[string]string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(set)) {
		parts = append(parts, key+"="+set[key])
	}
	return strings.Join(parts, ",")
}

func TestPodsTalkToWhomTheyNeedAndNobodyElse(t *testing.T) {
	t.Parallel()
	const (
		callers = "chuishao.io/calls=true:grpc/tcp"
		metrics = "kubernetes.io/metadata.name=monitoring:http/tcp"
	)
	servers := []string{
		"chuishao.io/history=true:2113/tcp", "chuishao.io/history=true:4222/tcp", "chuishao.io/history=true:8222/tcp", "chuishao.io/views=true:5432/tcp",
		"kubernetes.io/metadata.name=kube-system:53/tcp", "kubernetes.io/metadata.name=kube-system:53/udp",
	}
	writers := append(slices.Clone(servers), "chuishao.io/bus=true:4222/tcp", "chuishao.io/keys=true:5432/tcp")
	slices.Sort(writers)
	for _, want := range []struct {
		overlay, workload string
		in, out           []string
	}{
		{embedded, "dispatcher", []string{callers, metrics}, nil},
		{cluster, "dispatcher", []string{callers, metrics}, writers},
		{cluster, "projector", []string{metrics}, servers},
	} {
		b := build(t, want.overlay)
		i := slices.IndexFunc(b.workloads, func(w workload) bool { return w.name == want.workload })
		if i < 0 {
			t.Errorf("%s has no %s", want.overlay, want.workload)
			continue
		}
		in, closedIn := ways(t, b, b.workloads[i].labels, networkingv1.PolicyTypeIngress)
		out, closedOut := ways(t, b, b.workloads[i].labels, networkingv1.PolicyTypeEgress)
		if !closedIn || !closedOut {
			t.Errorf("%s: %s is open where no policy speaks", want.overlay, want.workload)
		}
		if !slices.Equal(in, want.in) || !slices.Equal(out, want.out) {
			t.Errorf("%s: %s\ngot  in %q out %q\nwant in %q out %q", want.overlay, want.workload, in, out, want.in, want.out)
		}
	}
}

// A pod of which nobody thought is closed as well.
func TestAPodWithoutAPolicyOfItsOwnIsClosed(t *testing.T) {
	t.Parallel()
	for _, overlay := range overlays {
		b := build(t, overlay)
		for _, to := range []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress} {
			if _, closed := ways(t, b, map[string]string{"app": "other"}, to); !closed {
				t.Errorf("%s: %s of any other pod is open", overlay, to)
			}
		}
	}
}
