{{/* The files' rules look at everything. Here they look at this release, and alerts say which that is even where all of
     it is gone. */}}
{{- define "sightline.ruleGroups" -}}
{{- $release := dict "namespace" .Release.Namespace "release" .Release.Name -}}
{{- $watched := printf "namespace=%q, release=%q" .Release.Namespace .Release.Name -}}
{{- $pools := include "sightline.pools" . | fromJson | keys | sortAlpha | join "|" -}}
{{- $scaled := printf "(keda-hpa-)?%s-(gateway|web|searcher-[0-9]+|encoder-(%s))" (include "sightline.fullname" .) $pools -}}
{{- $scalers := printf "namespace=%q, horizontalpodautoscaler=~%q" .Release.Namespace $scaled -}}
{{- $builds := printf "%s-indexer" (include "sightline.fullname" .) | trunc 30 | trimSuffix "-" -}}
{{- $jobs := printf "namespace=%q, job_name=~%q" .Release.Namespace (printf "%s.*" $builds) -}}
{{- $groups := list -}}
{{- range $file, $_ := .Files.Glob "rules/*.yaml" -}}
{{- range $group := ($.Files.Get $file | fromYaml).groups -}}
{{- range $rule := $group.rules -}}
{{- $expr := $rule.expr | replace `namespace=~".*", release=~".*"` $watched -}}
{{- $expr = $expr | replace `namespace=~".*", horizontalpodautoscaler=~".*sightline.*"` $scalers -}}
{{- $_ := set $rule "expr" ($expr | replace `namespace=~".*", job_name=~".*sightline-indexer.*"` $jobs) -}}
{{- if $rule.alert -}}
{{- $_ := set $rule "labels" (merge $rule.labels $release) -}}
{{- $link := $rule.annotations.runbook_url | replace "docs/operations.md" $.Values.monitoring.rules.runbookUrl -}}
{{- $_ := set $rule.annotations "runbook_url" $link -}}
{{- end -}}
{{- end -}}
{{- $groups = append $groups $group -}}
{{- end -}}
{{- end -}}
{{- toYaml $groups -}}
{{- end -}}
