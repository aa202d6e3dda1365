{{/* An autoscaler for a deployment, from the same dict: an HPA, or KEDA's, never both. */}}
{{- define "sightline.autoscaler" -}}
{{- $own := .values.autoscaling -}}
{{- if $own.enabled }}
---
{{ if eq .root.Values.autoscaling.engine "keda" -}}
{{ include "sightline.scaledObject" . }}
{{- else -}}
{{ include "sightline.hpa" . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "sightline.behavior" -}}
{{- include "sightline.over" (dict "base" .root.Values.autoscaling.behavior "over" (.values.autoscaling.behavior | default dict)) -}}
{{- end -}}

{{/* Never memory: that of an index is constant. Never the use of a GPU: one call pins it. */}}
{{- define "sightline.hpa" -}}
{{- $own := .values.autoscaling -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .name }}
  labels:
    {{- include "sightline.labels" . | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .name }}}
  minReplicas: {{ $own.minReplicas }}
  maxReplicas: {{ $own.maxReplicas }}
  metrics:
    {{- if eq ($own.signal | default "cpu") "concurrency" }}
    - type: Pods
      pods:
        metric: {name: sightline_encoder_concurrency}
        target: {type: AverageValue, averageValue: {{ toJson $own.concurrency | quote }}}
    - type: Pods
      pods:
        metric: {name: sightline_encoder_queue_wait_seconds}
        target: {type: AverageValue, averageValue: {{ toJson $own.queueSeconds | quote }}}
    {{- else }}
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ $own.cpu }}}
    {{- end }}
  behavior: {{- include "sightline.behavior" . | fromJson | toYaml | nindent 4 }}
{{- end -}}

{{/* Says something where a pool of encoders is scaled by its calls. */}}
{{- define "sightline.byConcurrency" -}}
{{- range $name, $pool := include "sightline.pools" . | fromJson -}}
{{- if and $pool.autoscaling.enabled (eq $pool.autoscaling.signal "concurrency") }}{{ $name }} {{ end -}}
{{- end -}}
{{- end -}}
