{{/* Builds: what is done in which Job, and how. A build is (dict "root" $ "collection" … "build" …). */}}

{{/* A build's Jobs are called by a digest of what it makes: another source, another name, another build. */}}
{{- define "sightline.buildDigest" -}}
{{- $build := .build -}}
{{- list .collection $build.source ($build.options | default list) $build.shards $build.parts ($build.run | default "") | toJson | sha256sum | trunc 8 -}}
{{- end -}}

{{- define "sightline.buildName" -}}
{{- printf "%s-indexer-%s" (include "sightline.fullname" .root) .collection | trunc 42 | trimSuffix "-" -}}
{{- end -}}

{{/* Where its stages leave what they have, in the store: a folder of its own, so that builds never meet. */}}
{{- define "sightline.workFolder" -}}
{{- printf "%s/%s/work-%s" (trimSuffix "/" .root.Values.store.url) .collection .of -}}
{{- end -}}

{{/* What a build gets beside what was not said of it; as JSON. */}}
{{- define "sightline.build" -}}
{{- $base := dict "source" "" "options" list "shards" 4 "parts" 1 "publish" true "schedule" "" "keep" 3 "run" "" -}}
{{- include "sightline.over" (dict "base" $base "over" .) -}}
{{- end -}}

{{/*
What the indexer is asked for a build, by Job: `build`, in as many pods as it has parts, and `publish`, which waits for it
and can be tried again alone, or come later. By a schedule both are one.
*/}}
{{- define "sightline.tasks" -}}
{{- $build := .build -}}
{{- $indexer := .root.Values.indexer -}}
{{- $here := list "--collection" .collection "--work" .work -}}
{{- $wait := list "--wait" (toString (int64 $indexer.waitSeconds)) -}}
{{- $timeout := list "--timeout" (toString (int64 $indexer.publishSeconds)) -}}
{{- $workers := list "--workers" (include "sightline.cores" (dig "requests" "cpu" "1" $indexer.resources)) -}}
{{- $args := concat (list "build" $build.source) $here (list "--shards" (toString $build.shards)) $workers $build.options -}}
{{- if gt (int $build.parts) 1 -}}
{{- $args = concat $args $wait (list "--part" (printf "$(JOB_COMPLETION_INDEX)/%d" (int $build.parts))) -}}
{{- end -}}
{{- if not $build.schedule -}}
{{- $args = append $args "--keep-work" -}}
{{- else if $build.publish -}}
{{- $args = concat $args (list "--publish") $timeout -}}
{{- end -}}
{{- if $build.schedule -}}
{{- $args = concat $args (list "--tidy" "--keep" (toString $build.keep)) -}}
{{- end -}}
{{- $tasks := list (dict "name" "build" "parts" $build.parts "args" $args) -}}
{{- if and $build.publish (not $build.schedule) -}}
{{- $tasks = append $tasks (dict "name" "publish" "parts" 1 "args" (concat (list "publish") $here $wait $timeout)) -}}
{{- end -}}
{{- toJson $tasks -}}
{{- end -}}

{{/* The specification of a task's Job. (dict "root" $ "task" … "collection" …) */}}
{{- define "sightline.jobSpec" -}}
{{- $indexer := .root.Values.indexer -}}
{{- $pods := include "sightline.over" (dict "base" .root.Values.pods "over" $indexer.pods) | fromJson -}}
{{- $it := include "sightline.indexerContext" . | fromJson | merge (dict "root" .root) -}}
{{- /* Only who builds writes shards: a rollback should find a node at once. */ -}}
{{- $scratch := ternary $indexer.scratch (dict "size" "256Mi") (has (first .task.args) (list "build" "fill")) -}}
{{- if gt (int .task.parts) 1 }}
completionMode: Indexed
completions: {{ .task.parts }}
parallelism: {{ .task.parts }}
backoffLimitPerIndex: {{ $indexer.retries }}
{{- else }}
completions: 1
parallelism: 1
backoffLimit: {{ $indexer.retries }}
{{- end }}
podFailurePolicy:
  rules:
    # A node that is drained is not the build's fault, and a wrong option does not get right by trying again.
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
    - action: FailJob
      onExitCodes: {containerName: indexer, operator: In, values: [2]}
template:
  metadata:
    labels:
      {{- include "sightline.selector" $it | nindent 6 }}
      {{- with $pods.labels }}{{ toYaml . | nindent 6 }}{{ end }}
    {{- with $pods.annotations }}
    annotations: {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    {{- include "sightline.placement" (dict "pods" (set $pods "spread" dict) "context" (set $it "serviceAccount" (include "sightline.indexerAccount" .root))) | nindent 4 }}
    restartPolicy: Never
    containers:
      - name: indexer
        image: {{ include "sightline.image" (dict "root" .root "component" "indexer" "own" $indexer.image) | quote }}
        imagePullPolicy: {{ .root.Values.image.pullPolicy }}
        args:
          {{- with .once }}
          - --once
          - {{ . | quote }}
          {{- end }}
          {{- range .task.args }}
          - {{ . | quote }}
          {{- end }}
        env:
          {{- list (include "sightline.indexerPlaces" .) (include "sightline.variables" $pods.env) | join "" | trim | nindent 10 }}
        {{- with include "sightline.indexerStoreEnvironment" .root | trim }}
        envFrom: {{- . | nindent 10 }}
        {{- end }}
        resources: {{- include "sightline.resources" (dict "resources" $indexer.resources "cache" $scratch) | nindent 10 }}
        securityContext: {{- include "sightline.restricted" . | nindent 10 }}
        volumeMounts:
          - {name: tmp, mountPath: /tmp}
          {{- with include "sightline.storeMount" (dict "root" .root "write" true) | trim }}{{- . | nindent 10 }}{{ end }}
          {{- with $pods.volumeMounts }}{{ toYaml . | nindent 10 }}{{ end }}
    volumes:
      {{- include "sightline.scratch" (merge (dict "name" "tmp") $scratch) | nindent 6 }}
      {{- with include "sightline.storeVolume" .root | trim }}{{- . | nindent 6 }}{{ end }}
      {{- with $pods.volumes }}{{ toYaml . | nindent 6 }}{{ end }}
{{- end -}}

{{/* Whose pods they are: the indexer's, of a collection where it is a build's. As JSON. */}}
{{- define "sightline.indexerContext" -}}
{{- dict "component" "indexer" "also" (ternary (dict "sightline.dev/collection" .collection) dict (hasKey . "collection")) | toJson -}}
{{- end -}}

{{/*
A Job of the release. Kubernetes lets nobody change a Job, and a build must not begin anew because an image was replaced;
so a Job notes what it was made as, and whatever is made of the release later repeats that to the letter. What a Job has
done it notes in the store too: one that is made again, since values came back, finds that and ends.
*/}}
{{- define "sightline.job" -}}
{{- $once := printf "%s/.once/%s" (trimSuffix "/" .root.Values.store.url) .name -}}
{{- if gt (int .task.parts) 1 -}}{{- $once = printf "%s-$(JOB_COMPLETION_INDEX)" $once -}}{{- end -}}
{{- $spec := include "sightline.jobSpec" (merge (dict "once" $once) .) | fromYaml | toJson -}}
{{- $live := lookup "batch/v1" "Job" .root.Release.Namespace .name -}}
{{- $spec = dig "metadata" "annotations" "sightline.dev/made-as" $spec $live -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .name }}
  labels:
    {{- include "sightline.labels" (include "sightline.indexerContext" . | fromJson | merge (dict "root" .root)) | nindent 4 }}
  annotations:
    sightline.dev/made-as: {{ $spec | quote }}
    {{- with .root.Values.indexer.annotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  {{- $spec | fromJson | toYaml | nindent 2 }}
{{- end -}}
