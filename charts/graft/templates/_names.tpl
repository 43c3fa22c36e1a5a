{{/* Name of the chart, at most 63 characters. */}}
{{- define "graft.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Prefix of the release's objects. Cut to 40, so that suffixes fit into 63. */}}
{{- define "graft.fullname" -}}
{{- $name := include "graft.name" . }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- .Values.fullnameOverride | default $full | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* The operator's Deployment, Service, Lease and so on. */}}
{{- define "graft.operatorName" -}}
{{- include "graft.fullname" . }}-operator
{{- end }}

{{- define "graft.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "graft.operatorName" .) }}
{{- else }}
{{- required "serviceAccount.name must be set when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Objects outside any namespace: two releases must not claim the same name. */}}
{{- define "graft.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "graft.operatorName" .) }}
{{- end }}

{{- define "graft.selectorLabels" -}}
app.kubernetes.io/name: graft
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* managed-by is Helm's; what the operator itself creates says "graft" there. */}}
{{- define "graft.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: graft
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: graft
{{- end }}

{{/* Reference of an image: (list . "trainer"). */}}
{{- define "graft.image" -}}
{{- $root := index . 0 }}
{{- $image := index $root.Values.images (index . 1) }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository ($image.tag | default $root.Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* Annotations of a hook that runs before the release is removed; lower weights come first. */}}
{{- define "graft.preDeleteHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
