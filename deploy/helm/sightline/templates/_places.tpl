{{/* What each kind of process is told of the rest, and what of it is mounted where. */}}

{{/* How a pod comes by a store's keys and address: from where every tool of that store takes them. */}}
{{- define "sightline.storeEnvironment" -}}
{{- with .Values.store.existingSecret }}
- secretRef: {name: {{ . | quote }}}
{{- end }}
{{- end -}}

{{- define "sightline.storeMount" -}}
{{- if .root.Values.store.volume }}
- {name: store, mountPath: {{ .root.Values.store.url | quote }}, readOnly: {{ not .write }}}
{{- end }}
{{- end -}}

{{- define "sightline.storeVolume" -}}
{{- with .Values.store.volume }}
- name: store
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Space that lasts as long as the pod. (dict "name" … "size" … "storageClassName" …) */}}
{{- define "sightline.scratch" -}}
- name: {{ .name }}
  {{- if .storageClassName }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        accessModes: [ReadWriteOnce]
        storageClassName: {{ .storageClassName | quote }}
        resources: {requests: {storage: {{ .size | quote }}}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .size | quote }}}
  {{- end }}
{{- end -}}

{{/* Where libraries may write, and that they look nothing up in the network. (dict "online" false) */}}
{{- define "sightline.folders" -}}
- {name: HOME, value: /tmp}
- {name: HF_HOME, value: /var/cache/sightline/huggingface}
- {name: XDG_CACHE_HOME, value: /var/cache/sightline/xdg}
- {name: TORCHINDUCTOR_CACHE_DIR, value: /var/cache/sightline/inductor}
- {name: TRITON_CACHE_DIR, value: /var/cache/sightline/triton}
- {name: HF_HUB_OFFLINE, value: {{ ternary "0" "1" .online | quote }}}
{{- end -}}

{{/* The gateway: everybody, the store, and the cache. */}}
{{- define "sightline.gatewayPlaces" -}}
{{- $fullname := include "sightline.fullname" . -}}
- {name: SIGHTLINE_STORE, value: {{ .Values.store.url | quote }}}
- {name: SIGHTLINE_ENCODERS, value: "{{ $fullname }}-encoder:7700"}
- {name: SIGHTLINE_SEARCHERS, value: "{{ $fullname }}-searcher:7700"}
{{- include "sightline.redisUrl" . }}
{{- with .Values.gateway.keys.existingSecret }}
- {name: SIGHTLINE_KEYS, value: /etc/sightline/keys/keys}
{{- end }}
{{- if .Values.tls.enabled }}
- {name: SIGHTLINE_TLS_CERT, value: /etc/sightline/tls/tls.crt}
- {name: SIGHTLINE_TLS_KEY, value: /etc/sightline/tls/tls.key}
{{- if .Values.tls.clientCertificates }}
- {name: SIGHTLINE_TLS_CLIENT_CA, value: /etc/sightline/tls/ca.crt}
{{- end }}
{{- end }}
{{- include "sightline.variables" .Values.store.env }}
{{- end -}}

{{- define "sightline.redisUrl" -}}
{{- $redis := .Values.redis -}}
{{- $service := printf "%s-redis:6379/0" (include "sightline.fullname" .) }}
{{- if and $redis.enabled $redis.existingSecret }}
- name: REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $redis.existingSecret | quote }}, key: password}}
- {name: SIGHTLINE_REDIS_URL, value: "redis://:$(REDIS_PASSWORD)@{{ $service }}"}
{{- else if $redis.enabled }}
- {name: SIGHTLINE_REDIS_URL, value: "redis://{{ $service }}"}
{{- else if $redis.external.existingSecret }}
- name: SIGHTLINE_REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ $redis.external.existingSecret | quote }}, key: url}}
{{- else if $redis.external.url }}
- {name: SIGHTLINE_REDIS_URL, value: {{ $redis.external.url | quote }}}
{{- end }}
{{- end -}}

{{- define "sightline.gatewayMounts" -}}
{{- include "sightline.storeMount" (dict "root" . "write" false) }}
{{- if .Values.gateway.keys.existingSecret }}
- {name: keys, mountPath: /etc/sightline/keys, readOnly: true}
{{- end }}
{{- if .Values.tls.enabled }}
- {name: tls, mountPath: /etc/sightline/tls, readOnly: true}
{{- end }}
{{- end -}}

{{- define "sightline.gatewayVolumes" -}}
{{- include "sightline.storeVolume" . }}
{{- with .Values.gateway.keys.existingSecret }}
- {name: keys, secret: {secretName: {{ . | quote }}}}
{{- end }}
{{- if .Values.tls.enabled }}
- {name: tls, secret: {secretName: {{ include "sightline.tlsSecret" . | quote }}}}
{{- end }}
{{- end -}}

{{- define "sightline.tlsSecret" -}}
{{- .Values.tls.existingSecret | default (printf "%s-gateway-tls" (include "sightline.fullname" .)) -}}
{{- end -}}

{{/* The web process calls gateways as any caller would: each by its own address, over TLS and with a key where asked to. */}}
{{- define "sightline.webPlaces" -}}
- {name: SIGHTLINE_GATEWAY, value: "dns:///{{ include "sightline.fullname" . }}-gateway-headless:7700"}
{{- if .Values.tls.enabled }}
- {name: SIGHTLINE_GATEWAY_CA, value: /etc/sightline/tls/ca.crt}
{{- if .Values.tls.clientCertificates }}
- {name: SIGHTLINE_GATEWAY_CERT, value: /etc/sightline/tls/tls.crt}
- {name: SIGHTLINE_GATEWAY_CERT_KEY, value: /etc/sightline/tls/tls.key}
{{- end }}
{{- end }}
{{- with .Values.web.key.existingSecret }}
- name: SIGHTLINE_GATEWAY_KEY
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: key}}
{{- end }}
{{- if or .Values.web.originalsSecret .Values.web.settings.originals }}
{{- include "sightline.variables" .Values.store.env }}
{{- end }}
{{- end -}}

{{/* Keys to the bucket of originals, which need not be that of the index. */}}
{{- define "sightline.webEnvironment" -}}
{{- with .Values.web.originalsSecret }}
- secretRef: {name: {{ . | quote }}}
{{- end }}
{{- end -}}

{{- define "sightline.webMounts" -}}
{{- if .Values.tls.enabled }}
- {name: tls, mountPath: /etc/sightline/tls, readOnly: true}
{{- end }}
{{- end -}}

{{- define "sightline.webVolumes" -}}
{{- if .Values.tls.enabled }}
- {name: tls, secret: {secretName: {{ include "sightline.webTlsSecret" . | quote }}}}
{{- end }}
{{- end -}}

{{/* What the web process trusts and shows. */}}
{{- define "sightline.webTlsSecret" -}}
{{- .Values.tls.webSecret | default (ternary (printf "%s-web-tls" (include "sightline.fullname" .)) (include "sightline.tlsSecret" .) .Values.tls.certManager.enabled) -}}
{{- end -}}

{{/* An encoder knows nobody. Of a pool's block. */}}
{{- define "sightline.encoderPlaces" -}}
{{- $cores := include "sightline.cores" (dig "requests" "cpu" "1" .resources) -}}
{{- if not (hasKey .settings "threads") }}
- {name: SIGHTLINE_THREADS, value: {{ $cores | quote }}}
{{- end }}
- {name: OMP_NUM_THREADS, value: {{ ternary .settings.threads $cores (hasKey .settings "threads") | toString | quote }}}
{{- include "sightline.folders" . | nindent 0 }}
{{- end -}}

{{- define "sightline.encoderMounts" -}}
- {name: cache, mountPath: /var/cache/sightline}
{{- if .modelVolume }}
- {name: models, mountPath: /models, readOnly: true}
{{- end }}
{{- end -}}

{{- define "sightline.encoderVolumes" -}}
{{- include "sightline.scratch" (dict "name" "cache" "size" .cache.size "storageClassName" .cache.storageClassName) }}
{{- with .modelVolume }}
- name: models
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A searcher knows the store and which group it is of. One thread searches; FAISS must not start more. */}}
{{- define "sightline.searcherPlaces" -}}
- {name: SIGHTLINE_STORE, value: {{ .root.Values.store.url | quote }}}
- {name: SIGHTLINE_GROUP, value: {{ .group | quote }}}
- {name: SIGHTLINE_GROUPS, value: {{ int .groups | quote }}}
- {name: SIGHTLINE_CACHE_DIR, value: /var/cache/sightline}
- {name: OMP_NUM_THREADS, value: "1"}
- {name: HOME, value: /tmp}
{{- include "sightline.variables" .root.Values.store.env }}
{{- end -}}

{{- define "sightline.searcherMounts" -}}
- {name: cache, mountPath: /var/cache/sightline}
{{- include "sightline.storeMount" (dict "root" . "write" false) }}
{{- end -}}

{{- define "sightline.searcherVolumes" -}}
{{- $cache := .Values.searcher.cache -}}
{{- include "sightline.scratch" (dict "name" "cache" "size" $cache.size "storageClassName" $cache.storageClassName) }}
{{- include "sightline.storeVolume" . }}
{{- end -}}

{{/* The indexer: everybody, and keys of a store that it may write to. */}}
{{- define "sightline.indexerPlaces" -}}
{{- $fullname := include "sightline.fullname" .root -}}
- {name: SIGHTLINE_STORE, value: {{ .root.Values.store.url | quote }}}
- {name: SIGHTLINE_ENCODERS, value: "{{ $fullname }}-encoder:7700"}
- {name: SIGHTLINE_SEARCHERS, value: "{{ $fullname }}-searcher:7700"}
- {name: OMP_NUM_THREADS, value: {{ include "sightline.cores" (dig "requests" "cpu" "1" .root.Values.indexer.resources) | quote }}}
- {name: HOME, value: /tmp}
- name: JOB_NAME
  valueFrom: {fieldRef: {fieldPath: "metadata.labels['batch.kubernetes.io/job-name']"}}
{{- include "sightline.variables" .root.Values.store.env }}
{{- end -}}

{{- define "sightline.indexerStoreEnvironment" -}}
{{- with .Values.indexer.storeSecret | default .Values.store.existingSecret }}
- secretRef: {name: {{ . | quote }}}
{{- end }}
{{- end -}}

{{- define "sightline.indexerAccount" -}}
{{- $own := .Values.indexer.serviceAccount -}}
{{- if $own.create -}}
{{- $own.name | default (printf "%s-indexer" (include "sightline.fullname" .)) -}}
{{- else -}}
{{- $own.name | default (include "sightline.serviceAccount" .) -}}
{{- end -}}
{{- end -}}
