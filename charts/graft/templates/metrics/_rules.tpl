{{/* Annotation that leads to what to do about an alert: (list . "GraftAdapterStalled"). */}}
{{- define "graft.runbook" -}}
runbook_url: {{ printf "%s#%s" (index . 0).Values.metrics.prometheusRule.runbookUrl (lower (index . 1)) }}
{{- end }}
