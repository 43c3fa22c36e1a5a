{{/*
What the operator does with tenants' objects, and nothing more. It never reads a Secret: pods mount those of their own
namespace by name.
*/}}
{{- define "graft.tenantRules" -}}
- apiGroups: [graft.dev]
  resources: [basemodels, loraadapters]
  # patch is for finalizers: the spec is the user's alone.
  verbs: [get, list, watch, patch]
- apiGroups: [graft.dev]
  resources: [basemodels/status, loraadapters/status]
  verbs: [patch]
# Lets our objects block the deletion of their owner where the API server asks for it (OwnerReferencesPermissionEnforcement).
- apiGroups: [graft.dev]
  resources: [basemodels/finalizers, loraadapters/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# What we have made is watched, so that it is there again soon after somebody deletes it; of it only names are read.
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch, create, patch, delete]
# get is for datasets in ConfigMaps, of which only names are watched; list and watch are also passed on to the serving
# agents, and nobody may pass on what he does not have.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
# These are never deleted by the operator. But whoever gives an object other owners has to be allowed to delete it where the
# API server asks for it (OwnerReferencesPermissionEnforcement, as on OpenShift).
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch, create, patch, delete]
{{- if .Values.networkPolicies.enabled }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, watch, create, patch, delete]
{{- end }}
{{- if .Values.rbac.inferencePools }}
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools]
  verbs: [list, watch, create, patch, delete]
{{- end }}
{{- if .Values.rbac.workloads }}
# Why Kueue does not let a Job run is told by its Workload alone.
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [list, watch]
{{- end }}
# Why a Job can't make its pods, or a pod waits for a volume, is told by events alone.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [list, watch, create]
{{- end }}

{{/*
What uninstalling does with the anchors by which all that a base serves with outlasts a deletion of the base. Where the policy
of rbac/own-objects.yaml is in force, it holds for this, too.
*/}}
{{- define "graft.anchorRules" -}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [delete]
{{- end -}}
