{{/*
One Deployment. Takes a dict:
  root, component, name   where, what, and what it is called
  also                    labels of its pods beyond those of the component
  values                  the block of the workload: replicas, image, resources, autoscaling, settings, pods
  env, envFrom            of the container
  ports                   name → number
  mounts, volumes         beyond /tmp
Its processes are alike in the rest: health on a plain port, restricted, drained before they end.
*/}}
{{- define "sightline.deployment" -}}
{{- $pods := include "sightline.over" (dict "base" .root.Values.pods "over" (.values.pods | default dict)) | fromJson -}}
{{- /* A cluster's DNS may go on naming it for 30 s, and naming no other in its place. Processes alone drain for less. */ -}}
{{- $settings := merge (dict) (.values.settings | default dict) (dict "drain_seconds" 35) -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  labels:
    {{- include "sightline.labels" . | nindent 4 }}
spec:
  {{- include "sightline.replicas" . | nindent 2 }}
  revisionHistoryLimit: 5
  minReadySeconds: {{ $pods.minReadySeconds }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {{ toJson $pods.rollout }}
  selector:
    matchLabels:
      {{- include "sightline.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "sightline.podLabels" . | nindent 8 }}
        sightline.dev/metrics: "true"
        {{- with $pods.labels }}{{ toYaml . | nindent 8 }}{{ end }}
      annotations:
        {{- include "sightline.podAnnotations" $pods | nindent 8 }}
    spec:
      {{- include "sightline.placement" (dict "pods" $pods "context" .) | nindent 6 }}
      # What processes take to drain, and a little more.
      terminationGracePeriodSeconds: {{ include "sightline.patience" $settings }}
      containers:
        - name: {{ .component }}
          image: {{ include "sightline.image" (dict "root" .root "component" .component "own" .values.image) | quote }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          env:
            {{- list .env (include "sightline.settings" $settings) (include "sightline.variables" $pods.env) | join "" | trim | nindent 12 }}
          {{- with .envFrom | default "" | trim }}
          envFrom: {{- . | nindent 12 }}
          {{- end }}
          ports:
            {{- range $name, $number := .ports }}
            - {name: {{ $name }}, containerPort: {{ $number }}, protocol: TCP}
            {{- end }}
          {{- include "sightline.probes" $pods | nindent 10 }}
          resources: {{- include "sightline.resources" .values | nindent 12 }}
          securityContext: {{- include "sightline.restricted" . | nindent 12 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- with .mounts | default "" | trim }}{{- . | nindent 12 }}{{ end }}
            {{- with $pods.volumeMounts }}{{ toYaml . | nindent 12 }}{{ end }}
      volumes:
        - {name: tmp, emptyDir: {sizeLimit: 256Mi}}
        {{- with .volumes | default "" | trim }}{{- . | nindent 8 }}{{ end }}
        {{- with $pods.volumes }}{{ toYaml . | nindent 8 }}{{ end }}
{{- end -}}

{{/* What lies in volumes of these pods may be lost: who takes idle nodes away should not keep them for its sake. */}}
{{- define "sightline.podAnnotations" -}}
{{- merge (dict) .annotations (dict "cluster-autoscaler.kubernetes.io/safe-to-evict" "true") | toYaml -}}
{{- end -}}

{{/* All of a pod that says where it runs and as whom. (dict "pods" … "context" …) */}}
{{- define "sightline.placement" -}}
serviceAccountName: {{ .context.serviceAccount | default (include "sightline.serviceAccount" .context.root) }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .context.root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - {name: {{ . | quote }}}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .pods.priorityClassName | default (include "sightline.ownPriority" .context) }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .pods.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with .pods.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pods.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pods.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- include "sightline.spread" . }}
{{- end -}}

{{/* Pods of one rollout are spread among themselves, or the old ones would push the new ones aside. Nodes that are being
     drained, and nodes for others, do not count as places. */}}
{{- define "sightline.spread" -}}
{{- $context := .context -}}
{{- $keys := dict "zone" "topology.kubernetes.io/zone" "node" "kubernetes.io/hostname" -}}
{{- range $place := list "node" "zone" }}
{{- $rule := get $.pods.spread $place }}
{{- if $rule }}
{{- if not (hasKey $keys "begun") }}
{{- $_ := set $keys "begun" true }}
topologySpreadConstraints:
{{- end }}
  - topologyKey: {{ get $keys $place }}
    maxSkew: 1
    whenUnsatisfiable: {{ $rule }}
    nodeTaintsPolicy: Honor
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "sightline.selector" $context | nindent 8 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The class of this release that a workload is of, where it makes any: builds, tests and load are of none. */}}
{{- define "sightline.ownPriority" -}}
{{- if and .root.Values.priorityClasses.create (not (has .component (list "indexer" "test" "load"))) -}}
{{- include "sightline.priorityClass" (dict "root" .root "of" (ternary "searcher" "serving" (eq .component "searcher"))) -}}
{{- end -}}
{{- end -}}

{{- define "sightline.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* A cache on the node's own disk is asked for like memory, or the node would fill and drive out others. */}}
{{- define "sightline.resources" -}}
{{- $resources := .resources -}}
{{- if and .cache (not (.cache | default dict).storageClassName) -}}
{{- $asked := dict "requests" (dict "ephemeral-storage" .cache.size) -}}
{{- $resources = include "sightline.over" (dict "base" $asked "over" $resources) | fromJson -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* Liveness is the event loop's beat, readiness a local fact. A process that still loads is not started anew for that. */}}
{{- define "sightline.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: health}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: {{ div .startupSeconds 2 }}
livenessProbe:
  httpGet: {path: /healthz, port: health}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- end -}}

{{/* Seconds until a process may be killed: it serves on while names expire, finishes what is in flight, and ends. */}}
{{- define "sightline.patience" -}}
{{- $grace := ternary .grace_seconds 20 (hasKey . "grace_seconds") -}}
{{- ceil (addf .drain_seconds $grace 10) -}}
{{- end -}}

{{/* How many. Left to an autoscaler where there is one; but a Deployment that runs keeps its number, which would else
     fall to one, once the field goes that a release had. It goes when the autoscaler has said the number itself, so that
     nobody else's does: a number that is repeated would be a conflict, or a step back, in a later rollback. Nothing runs
     where a chart is rendered without a cluster. */}}
{{- define "sightline.replicas" -}}
{{- if .values.autoscaling | default dict | dig "enabled" false -}}
{{- $live := lookup "apps/v1" "Deployment" .root.Release.Namespace .name -}}
{{- $scaled := false -}}
{{- range dig "metadata" "managedFields" list $live -}}
{{- if eq (.subresource | default "") "scale" -}}{{- $scaled = true -}}{{- end -}}
{{- end -}}
{{- if and $live (not $scaled) -}}
replicas: {{ $live.spec.replicas }}
{{- end -}}
{{- else -}}
replicas: {{ .values.replicas }}
{{- end -}}
{{- end -}}

{{/* A budget for the same pods: a drain waits for what does not fit in, and never for pods that are not well anyway. */}}
{{- define "sightline.budget" -}}
{{- $pods := include "sightline.over" (dict "base" .root.Values.pods "over" (.values.pods | default dict)) | fromJson -}}
{{- if ne (toString $pods.maxUnavailable) "" }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels:
    {{- include "sightline.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ $pods.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "sightline.selector" . | nindent 6 }}
{{- end }}
{{- end -}}

{{/* A Service. As a deployment's dict, with `ports`, and `headless` or `service`. */}}
{{- define "sightline.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}
  labels:
    {{- include "sightline.labels" . | nindent 4 }}
  {{- with (.service | default dict).annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- if .headless }}
  clusterIP: None
  {{- else }}
  type: {{ (.service | default dict).type | default "ClusterIP" }}
  {{- end }}
  selector:
    {{- include "sightline.selector" . | nindent 4 }}
  ports:
    {{- range $name, $number := .ports }}
    - name: {{ $name }}
      port: {{ $number }}
      targetPort: {{ $name }}
      protocol: TCP
      {{- with $.appProtocol }}
      appProtocol: {{ . }}
      {{- end }}
    {{- end }}
{{- end -}}
