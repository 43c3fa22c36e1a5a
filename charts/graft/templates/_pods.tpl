{{/* Pod Security Standard "restricted", for every pod of the chart. */}}
{{- define "graft.podSecurityContext" -}}
runAsNonRoot: true
{{- range $name, $id := include "graft.userIds" . | fromYaml }}
{{ $name }}: {{ $id | int64 }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "graft.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Ids that pods ask for; none where they are left to the platform. */}}
{{- define "graft.userIds" -}}
{{- if eq .Values.podSecurity.userIds "Fixed" }}
{{- omit .Values.podSecurity "userIds" | toYaml }}
{{- end }}
{{- end }}

{{/*
Variables that name the proxy, name → value, in both cases: programs differ in which they read. The API server's address is
known to each container by a variable of its own.
*/}}
{{- define "graft.proxyEnv" -}}
{{- $proxy := .Values.proxy }}
{{- if or $proxy.http $proxy.https }}
{{- $inside := list "localhost" "127.0.0.1" "::1" ".svc" ".cluster.local" "$(KUBERNETES_SERVICE_HOST)" }}
{{- $variables := dict "NO_PROXY" (join "," (concat $inside $proxy.noProxy)) }}
{{- with $proxy.http }}{{- $_ := set $variables "HTTP_PROXY" . }}{{- end }}
{{- with $proxy.https }}{{- $_ := set $variables "HTTPS_PROXY" . }}{{- end }}
{{- range $name, $value := $variables }}
{{ $name }}: {{ $value | quote }}
{{ $name | lower }}: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Proxy and certificates, as the environment of a container of the chart. */}}
{{- define "graft.outsideEnv" -}}
{{- range $name, $value := include "graft.proxyEnv" . | fromYaml }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- if .Values.caBundle.configMap }}
{{- range $name := list "AWS_CA_BUNDLE" "REQUESTS_CA_BUNDLE" "SSL_CERT_FILE" "CURL_CA_BUNDLE" }}
- name: {{ $name }}
  value: /etc/graft/ca/ca.crt
{{- end }}
{{- end }}
{{- end }}

{{/* Keys by which Graft and Kubernetes go. A schema could refuse them as well, but Helm would not say where they are. */}}
{{- define "graft.checkedTenantPods" -}}
{{- $reserved := "^(.*[.-])?(graft[.]dev|kubernetes[.]io|k8s[.]io)/" }}
{{- $key := "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$" }}
{{- range $name, $_ := .Values.tenantPods.labels }}
{{- if or (not (regexMatch $key $name)) (regexMatch $reserved $name) (has $name (list "job-name" "controller-uid" "pod-template-hash")) }}
{{- fail (printf "tenantPods.labels: %s is no label's name, or one that Graft or Kubernetes goes by: use a domain of your own" $name) }}
{{- end }}
{{- end }}
{{- range $name, $_ := .Values.tenantPods.annotations }}
{{- if or (not (regexMatch $key $name)) (and (regexMatch $reserved $name) (not (hasPrefix "cluster-autoscaler.kubernetes.io/" $name))) }}
{{- fail (printf "tenantPods.annotations: %s is no annotation's name, or one that Graft or Kubernetes goes by: use a domain of your own" $name) }}
{{- end }}
{{- end }}
{{- $own := list "HOME" "HF_HOME" "HF_HUB_OFFLINE" "VLLM_ALLOW_RUNTIME_LORA_UPDATING" "VLLM_ALLOW_INSECURE_SERIALIZATION" "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" }}
{{- range $name, $_ := .Values.tenantPods.env }}
{{- if or (not (regexMatch "^[A-Za-z_][A-Za-z0-9_]*$" $name)) (hasPrefix "GRAFT_" $name) (has $name $own) }}
{{- fail (printf "tenantPods.env: %s is no variable's name, or one of Graft's own: remove it" $name) }}
{{- end }}
{{- end }}
{{- end }}

{{/* JSON of what the operator gives to every pod in tenants' namespaces. */}}
{{- define "graft.tenantPods" -}}
{{- include "graft.checkedTenantPods" . }}
{{- $own := .Values.tenantPods }}
{{- $env := merge (dict) $own.env (include "graft.proxyEnv" . | fromYaml) }}
{{- $pods := dict "labels" $own.labels "annotations" $own.annotations "env" $env "imagePullSecrets" $own.imagePullSecrets }}
{{- with $own.priorityClassName }}{{- $_ := set $pods "priorityClassName" . }}{{- end }}
{{- $ids := dict }}
{{- range $name, $id := include "graft.userIds" . | fromYaml }}{{- $_ := set $ids $name (int64 $id) }}{{- end }}
{{- $_ := set $pods "userIds" $ids }}
{{- with .Values.caBundle }}
{{- if .configMap }}{{- $_ := set $pods "caBundle" (dict "name" .configMap "key" .key) }}{{- end }}
{{- end }}
{{- toJson $pods }}
{{- end }}
