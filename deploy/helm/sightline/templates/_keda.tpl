{{/* KEDA's object for a deployment. It makes an HPA of its own. */}}
{{- define "sightline.scaledObject" -}}
{{- $own := .values.autoscaling -}}
{{- $keda := .root.Values.autoscaling.keda -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ .name }}
  labels:
    {{- include "sightline.labels" . | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .name }}}
  minReplicaCount: {{ $own.minReplicas }}
  maxReplicaCount: {{ $own.maxReplicas }}
  pollingInterval: {{ $keda.pollingSeconds }}
  # Where Prometheus does not answer, the number stays: a fallback would take replicas away from under a load.
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {{- include "sightline.behavior" . | fromJson | toYaml | nindent 8 }}
  triggers:
    {{- if eq ($own.signal | default "cpu") "concurrency" }}
    {{- $of := printf `namespace="%s",pod=~"%s-[a-z0-9]+-[a-z0-9]+"` .root.Release.Namespace .name }}
    {{- $calls := `method=~"/sightline.internal.v1.EncoderService/Encode.*"` }}
    # In all, over all pods: KEDA divides by their number. No series is no load.
    - type: prometheus
      metricType: AverageValue
      metadata:
        serverAddress: {{ $keda.prometheus | quote }}
        threshold: {{ toJson $own.concurrency | quote }}
        query: {{ printf `sum(rate(sightline_rpc_seconds_sum{%s,%s}[1m])) or vector(0)` $of $calls | quote }}
    - type: prometheus
      metricType: Value
      metadata:
        serverAddress: {{ $keda.prometheus | quote }}
        threshold: {{ toJson $own.queueSeconds | quote }}
        query: {{ printf `sum(rate(sightline_queue_seconds_sum{%s}[1m])) / (sum(rate(sightline_queue_seconds_count{%s}[1m])) > 0) or vector(0)` $of $of | quote }}
    {{- else }}
    - type: cpu
      metricType: Utilization
      metadata: {value: {{ $own.cpu | quote }}}
    {{- end }}
{{- end -}}
