// Package deploy holds what chuishao is run and watched with: manifests of Kubernetes in k8s, rules of Prometheus in
// prometheus, a dashboard of Grafana in grafana, and in image what makes a container image of the binaries. Its tests hold all of
// it against the real types, flags and metrics.
package deploy
