{{/* What the schema cannot say: values that make no sense beside each other. Each sentence names the value. */}}
{{- define "sightline.checks" -}}
{{- $v := .Values -}}
{{- /* Only where it has a cluster before it: who renders alone (Argo CD) applies by itself. */ -}}
{{- if and (semverCompare "<4.0.0-0" .Capabilities.HelmVersion.Version) (lookup "v1" "ServiceAccount" .Release.Namespace "default") -}}
{{- fail (printf "helm: %s does not apply on the server's side, by which autoscalers keep their numbers; take Helm 4" .Capabilities.HelmVersion.Version) -}}
{{- end -}}
{{- if not $v.store.url -}}
{{- fail "store.url: say where the generations are, such as s3://bucket/folder" -}}
{{- end -}}
{{- range $variable, $_ := $v.store.env -}}
{{- include "sightline.checkVariable" (dict "where" (printf "store.env.%s" $variable) "variable" $variable) -}}
{{- end -}}
{{- $isUrl := contains "://" $v.store.url -}}
{{- if and $isUrl $v.store.volume -}}
{{- fail (printf "store.volume: %s is no path, so that no volume can be mounted there" $v.store.url) -}}
{{- end -}}
{{- if and (not $isUrl) (not $v.store.volume) -}}
{{- fail (printf "store.volume: %s is a path, and no volume is mounted there" $v.store.url) -}}
{{- end -}}
{{- if and (not $isUrl) (not (hasPrefix "/" $v.store.url)) -}}
{{- fail (printf "store.url: %s is no absolute path and no URL" $v.store.url) -}}
{{- end -}}

{{- include "sightline.checkPods" (dict "root" $ "name" "" "pods" $v.pods) -}}
{{- range $name, $workload := include "sightline.workloads" . | fromJson -}}
{{- include "sightline.checkImage" (dict "name" (printf "%s.image.tag" $name) "tag" (($workload.image | default dict).tag)) -}}
{{- $own := $workload.autoscaling | default dict -}}
{{- if and $own.enabled (gt (int $own.minReplicas) (int $own.maxReplicas)) -}}
{{- fail (printf "%s.autoscaling.maxReplicas: %d is less than minReplicas, which is %d" $name (int $own.maxReplicas) (int $own.minReplicas)) -}}
{{- end -}}
{{- $pods := include "sightline.over" (dict "base" $v.pods "over" ($workload.pods | default dict)) | fromJson -}}
{{- include "sightline.checkPods" (dict "root" $ "name" $name "pods" $pods) -}}
{{- end -}}
{{- include "sightline.checkImage" (dict "name" "image.tag" "tag" $v.image.tag) -}}

{{- if and $v.searcher.leaving (le (int $v.searcher.leaving) (int $v.searcher.groups)) -}}
{{- fail (printf "searcher.leaving: %d groups do not leave where there are %d (searcher.groups)" (int $v.searcher.leaving) (int $v.searcher.groups)) -}}
{{- end -}}
{{- range $collection, $build := $v.indexer.builds -}}
{{- if and $build.schedule (gt (int ($build.parts | default 1)) 1) -}}
{{- fail (printf "indexer.builds.%s.parts: a build by schedule is made in one part" $collection) -}}
{{- end -}}
{{- if and (hasKey $build "keep") (not $build.schedule) -}}
{{- fail (printf "indexer.builds.%s.keep: only builds by schedule take generations away (docs/indexing.md: prune)" $collection) -}}
{{- end -}}
{{- range $option := $build.options -}}
{{- if regexMatch "^--(collection|store|encoder|searchers|work|part|shards|wait|publish|keep|keep-work|tidy|workers)(=|$)" $option -}}
{{- fail (printf "indexer.builds.%s.options: the chart says %s itself" $collection $option) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- $expose := $v.expose -}}
{{- if and $expose.ingress.enabled $expose.gatewayApi.enabled -}}
{{- fail "expose.ingress.enabled: an Ingress and routes of the Gateway API exclude each other" -}}
{{- end -}}
{{- if and (or $expose.ingress.enabled $expose.gatewayApi.enabled) (not $expose.web.host) (not $expose.grpc.host) -}}
{{- fail "expose.web.host: say by which name the page is reached, or the gateways (expose.grpc.host)" -}}
{{- end -}}
{{- if and $expose.web.host (eq $expose.web.host $expose.grpc.host) -}}
{{- fail (printf "expose.grpc.host: %s is the page's name; the gateways need one of their own" $expose.grpc.host) -}}
{{- end -}}
{{- if and $expose.web.host (not $v.web.enabled) -}}
{{- fail "expose.web.host: there is no page (web.enabled)" -}}
{{- end -}}
{{- if and $expose.gatewayApi.enabled (not $expose.gatewayApi.parentRefs) -}}
{{- fail "expose.gatewayApi.parentRefs: say which Gateways the routes are of" -}}
{{- end -}}
{{- if and $expose.gatewayApi.enabled $expose.grpc.host $v.tls.enabled -}}
{{- fail "expose.grpc.host: a GRPCRoute speaks to gateways in the clear; end TLS at the Gateway or here (tls.enabled), not both" -}}
{{- end -}}

{{- $external := $v.redis.external -}}
{{- if and $v.redis.enabled (or $external.url $external.existingSecret) -}}
{{- fail "redis.enabled: our own Redis and redis.external exclude each other" -}}
{{- end -}}
{{- if and $external.url $external.existingSecret -}}
{{- fail "redis.external.url: give the URL or a Secret that has it, not both" -}}
{{- end -}}

{{- $tls := $v.tls -}}
{{- if and $tls.enabled (not $tls.existingSecret) (not $tls.certManager.enabled) -}}
{{- fail "tls.existingSecret: name the Secret with the certificate, or let cert-manager make one (tls.certManager.enabled)" -}}
{{- end -}}
{{- if and $tls.existingSecret $tls.certManager.enabled -}}
{{- fail "tls.existingSecret: cert-manager makes a Secret of its own; give one or the other" -}}
{{- end -}}
{{- if and $tls.certManager.enabled (not $tls.enabled) -}}
{{- fail "tls.certManager.enabled: certificates are for TLS, which tls.enabled switches on" -}}
{{- end -}}
{{- if and $tls.certManager.enabled (not $tls.certManager.issuer.name) -}}
{{- fail "tls.certManager.issuer.name: say which issuer signs" -}}
{{- end -}}
{{- if and $tls.clientCertificates (not $tls.enabled) -}}
{{- fail "tls.clientCertificates: callers can show certificates over TLS only (tls.enabled)" -}}
{{- end -}}
{{- if and $v.gateway.keys.existingSecret $v.web.enabled (not $v.web.key.existingSecret) -}}
{{- fail "web.key.existingSecret: gateways ask for keys, and the page has none" -}}
{{- end -}}
{{- end -}}

{{- define "sightline.checkPods" -}}
{{- $where := ternary "pods" (printf "%s.pods" .name) (eq .name "") -}}
{{- $none := list "0" "0%" -}}
{{- if and (has (toString .pods.rollout.maxSurge) $none) (has (toString .pods.rollout.maxUnavailable) $none) -}}
{{- fail (printf "%s.rollout.maxUnavailable: with maxSurge 0 too, nothing could ever be replaced" $where) -}}
{{- end -}}
{{- range $variable, $_ := .pods.env -}}
{{- if hasPrefix "SIGHTLINE_" $variable -}}
{{- fail (printf "%s.env.%s: settings have a place of their own, the settings of each workload" $where $variable) -}}
{{- end -}}
{{- include "sightline.checkVariable" (dict "where" (printf "%s.env.%s" $where $variable) "variable" $variable) -}}
{{- if hasKey $.root.Values.store.env $variable -}}
{{- fail (printf "%s.env.%s: store.env says it too" $where $variable) -}}
{{- end -}}
{{- end -}}
{{- range $label, $_ := .pods.labels -}}
{{- if regexMatch "^(app\\.kubernetes\\.io|helm\\.sh|sightline\\.dev)/" $label -}}
{{- fail (printf "%s.labels: the chart says %s itself" $where $label) -}}
{{- end -}}
{{- end -}}
{{- range $volume := .pods.volumes -}}
{{- if has $volume.name (list "tmp" "cache" "store" "models" "keys" "tls") -}}
{{- fail (printf "%s.volumes: %s is a volume of the chart's own" $where $volume.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A variable twice is a conflict, or the last of two, by how it is applied. */}}
{{- define "sightline.checkVariable" -}}
{{- if has .variable (list "HOME" "HF_HOME" "HF_HUB_OFFLINE" "JOB_COMPLETION_INDEX" "JOB_NAME" "OMP_NUM_THREADS" "REDIS_PASSWORD" "TORCHINDUCTOR_CACHE_DIR" "TRITON_CACHE_DIR" "XDG_CACHE_HOME") -}}
{{- fail (printf "%s: the chart says that itself" .where) -}}
{{- end -}}
{{- end -}}

{{- define "sightline.checkImage" -}}
{{- if eq (toString .tag) "latest" -}}
{{- fail (printf "%s: latest does not say what runs; name a version, or give a digest" .name) -}}
{{- end -}}
{{- end -}}

{{/* All workloads by where their values are; as JSON. */}}
{{- define "sightline.workloads" -}}
{{- $all := dict "gateway" .Values.gateway "searcher" .Values.searcher "redis" .Values.redis "web" .Values.web "indexer" .Values.indexer -}}
{{- range $name, $pool := include "sightline.pools" . | fromJson -}}
{{- $_ := set $all (ternary (printf "encoder.pools.%s" $name) "encoder" (hasKey $.Values.encoder.pools $name)) $pool -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}
