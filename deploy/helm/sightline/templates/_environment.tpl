{{/* What processes are told. */}}

{{/* Settings as the variables that processes read them from. JSON writes large numbers in full; YAML would not. */}}
{{- define "sightline.settings" -}}
{{- range $name, $value := . }}
- name: SIGHTLINE_{{ upper $name }}
  value: {{ (kindIs "string" $value | ternary $value (toJson $value)) | quote }}
{{- end }}
{{- end -}}

{{/* Plain variables. */}}
{{- define "sightline.variables" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ (kindIs "string" $value | ternary $value (toJson $value)) | quote }}
{{- end }}
{{- end -}}

{{/* Whole cores of a request for CPUs, at least one: threads beyond that would only wait for each other. */}}
{{- define "sightline.cores" -}}
{{- $asked := toString (default "1" .) -}}
{{- if hasSuffix "m" $asked -}}
{{- max 1 (ceil (divf (trimSuffix "m" $asked | float64) 1000.0)) -}}
{{- else -}}
{{- max 1 (ceil (float64 $asked)) -}}
{{- end -}}
{{- end -}}
