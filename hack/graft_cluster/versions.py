"""Every version the local cluster is made of, in one place.

A version is part of the name of whatever is cached, so changing one here
rebuilds exactly that piece.
"""

KUBERNETES = "1.35.3"
KIND = "0.33.0"
CONTAINERD = "2.4.2"
ETCD = "3.6.10"
COREDNS = "1.15.0"
HELM = "3.22.0"
VERSITYGW = "1.8.0"
DISTRIBUTION = "3.1.2"
KUBECONFORM = "0.8.0"
KUBE_NETWORK_POLICIES = "0.8.0"
KUEUE = "0.17.0"
# Flux from 1.10 on and Argo CD from 3.6 on want a newer Go; Argo CD 3.3 to 3.5 need a folder that is not in the module.
FLUX_CONTROLLERS = "1.9.0"
ARGO_CD = "3.2.6"
KUSTOMIZE = "5.7.0"

# The tags kubeadm of this Kubernetes release expects to find on a node.
KUBEADM_ETCD_TAG = "3.6.6-0"
KUBEADM_COREDNS_TAG = "v1.13.1"
KUBEADM_PAUSE_TAG = "3.10.1"

DEBIAN_SUITE = "bookworm"

# Kubernetes publishes these modules separately, but its own go.mod points at a
# relative folder for each. Outside of its tree they have to be replaced.
KUBERNETES_STAGING = (
    "api",
    "apiextensions-apiserver",
    "apimachinery",
    "apiserver",
    "cli-runtime",
    "client-go",
    "cloud-provider",
    "cluster-bootstrap",
    "code-generator",
    "component-base",
    "component-helpers",
    "controller-manager",
    "cri-api",
    "cri-client",
    "csi-translation-lib",
    "dynamic-resource-allocation",
    "endpointslice",
    "externaljwt",
    "kms",
    "kube-aggregator",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "metrics",
    "mount-utils",
    "pod-security-admission",
    "sample-apiserver",
    "sample-cli-plugin",
    "sample-controller",
)
