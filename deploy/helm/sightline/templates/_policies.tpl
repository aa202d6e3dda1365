{{/* Peers of a NetworkPolicy: pods of this release of these components. */}}
{{- define "sightline.peers" -}}
{{- $root := .root -}}
{{- range .components }}
- podSelector:
    matchLabels:
      {{- include "sightline.selector" (dict "root" $root "component" .) | nindent 6 }}
{{- end }}
{{- end -}}

{{/*
One NetworkPolicy: (dict "root" $ "component" … "ports" names "from" peers "open" whether to anybody "to" of peers and
ports "closed" whether nothing outside may be called).
*/}}
{{- define "sightline.policy" -}}
{{- $network := .root.Values.networkPolicy -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "sightline.fullname" .root }}-{{ .component }}
  labels:
    {{- include "sightline.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "sightline.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- if .ports }}
  ingress:
    {{- with .ports }}
    - ports:
        {{- range . }}
        - {port: {{ . }}, protocol: TCP}
        {{- end }}
      {{- if not $.open }}
      from: {{- toYaml $.from | nindent 8 }}
      {{- end }}
    {{- end }}
    {{- if and $network.monitoring (not (has .component (list "redis" "indexer"))) }}
    - ports: [{port: health, protocol: TCP}]
      from: {{- toYaml $network.monitoring | nindent 8 }}
    {{- end }}
  {{- end }}
  egress:
    # Names are asked for over both.
    - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
    {{- range .to }}
    - ports: [{port: {{ .port }}, protocol: TCP}]
      {{- with .peers }}
      to: {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- end }}
    {{- if not .closed }}
    {{- with $network.egress }}{{ toYaml . | nindent 4 }}{{ end }}
    {{- end }}
{{- end -}}
