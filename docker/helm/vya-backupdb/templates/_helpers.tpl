{{- /* Only what Go's templates and sprig have themselves is used here and in the templates, "template" rather than
Helm's "include": so the chart is rendered in tests without Helm. */ -}}
{{- define "vya.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}

{{- define "vya.selector" -}}
app.kubernetes.io/name: vya-backupdb, app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "vya.labels" -}}
{app.kubernetes.io/name: vya-backupdb, app.kubernetes.io/instance: {{ .Release.Name | quote }}, app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}, app.kubernetes.io/managed-by: {{ .Release.Service | quote }}}
{{- end -}}

{{- define "vya.claim" -}}
{{- if .Values.persistence.existingClaim -}}
{{ .Values.persistence.existingClaim }}
{{- else -}}
{{ template "vya.name" . }}
{{- end -}}
{{- end -}}

{{- /* What both kinds of pods have in common, at the indentation of a Deployment's and a CronJob's pod alike: flow style
does not mind. */ -}}
{{- define "vya.podSecurity" -}}
{runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, fsGroup: 10001, fsGroupChangePolicy: OnRootMismatch, seccompProfile: {type: RuntimeDefault}}
{{- end -}}

{{- define "vya.containerSecurity" -}}
{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
{{- end -}}

{{- define "vya.image" -}}
"{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
{{- end -}}

{{- define "vya.mounts" -}}
[{name: data, mountPath: /data}, {name: config, mountPath: /etc/vya_backupdb, readOnly: true}, {name: credentials, mountPath: /secrets, readOnly: true}, {name: run, mountPath: /run/vya-backupd}, {name: tmp, mountPath: /tmp}{{ if .Values.extraSecret }}, {name: extra, mountPath: /secrets-extra, readOnly: true}{{ end }}]
{{- end -}}

{{- define "vya.volumes" -}}
[{name: data, persistentVolumeClaim: {claimName: {{ template "vya.claim" . }}}}, {name: config, configMap: {name: {{ template "vya.name" . }}}}, {name: credentials, secret: {secretName: {{ .Values.credentialsSecret | quote }}, defaultMode: 288}}, {name: run, emptyDir: {medium: Memory, sizeLimit: 1Mi}}, {name: tmp, emptyDir: {sizeLimit: 1Gi}}{{ if .Values.extraSecret }}, {name: extra, secret: {secretName: {{ .Values.extraSecret | quote }}, defaultMode: 288}}{{ end }}]
{{- end -}}
