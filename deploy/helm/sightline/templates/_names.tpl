{{/* Names, labels and images. Most take (dict "root" $ "component" "gateway" …). */}}

{{- define "sightline.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What the pods of a component are found by: never changes, since selectors cannot. */}}
{{- define "sightline.selector" -}}
app.kubernetes.io/name: {{ .root.Values.nameOverride | default .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- range $name, $value := .also }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* Not the chart's version: pods need not be replaced where that alone has changed. */}}
{{- define "sightline.podLabels" -}}
{{ include "sightline.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{- define "sightline.labels" -}}
{{ include "sightline.podLabels" . }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "sightline.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "sightline.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* (dict "root" $ "component" "gateway" "own" .Values.gateway.image) */}}
{{- define "sightline.image" -}}
{{- $own := .own | default dict -}}
{{- $all := .root.Values.image -}}
{{- $name := $own.repository | default (printf "%s-%s" $all.repository .component) -}}
{{- include "sightline.reference" (dict
      "registry" (ternary $own.registry $all.registry (hasKey $own "registry"))
      "repository" $name
      "tag" ($own.tag | default $all.tag | default .root.Chart.AppVersion)
      "digest" $own.digest) -}}
{{- end -}}

{{- define "sightline.reference" -}}
{{- with .registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- .repository -}}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end -}}
{{- end -}}

{{/* One map laid over another, as Helm lays values over those of a chart, but where pods may run is said as a whole; as
     JSON. (dict "base" … "over" …) */}}
{{- define "sightline.over" -}}
{{- $merged := dict -}}
{{- range $key, $value := .base }}{{- $_ := set $merged $key $value -}}{{- end -}}
{{- range $key, $value := .over -}}
{{- if and (kindIs "map" $value) (kindIs "map" (get $merged $key)) (not (has $key (list "nodeSelector" "affinity"))) -}}
{{- $_ := set $merged $key (include "sightline.over" (dict "base" (get $merged $key) "over" $value) | fromJson) -}}
{{- else -}}
{{- $_ := set $merged $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $merged -}}
{{- end -}}

{{/* The pools of encoders by name, each with all that it does not say itself taken from the block; as JSON. */}}
{{- define "sightline.pools" -}}
{{- $pools := dict -}}
{{- $block := omit .Values.encoder "pools" -}}
{{- range $name, $pool := (.Values.encoder.pools | default (dict "default" dict)) -}}
{{- $_ := set $pools $name (include "sightline.over" (dict "base" $block "over" $pool) | fromJson) -}}
{{- end -}}
{{- toJson $pools -}}
{{- end -}}

{{/* Classes are the cluster's, so that their names have the namespace in them. */}}
{{- define "sightline.priorityClass" -}}
{{- printf "%s-%s-%s" (include "sightline.fullname" .root) .root.Release.Namespace .of -}}
{{- end -}}
