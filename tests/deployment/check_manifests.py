"""Checks manifests against Kubernetes' schemas: run by a Python that has them, with a JSON document on standard input.

In: ``{"versions": [...], "manifests": [...]}``; out: a list of complaints. Kinds without a schema are passed over: they
are of others (``monitoring.coreos.com``).
"""

import json
import sys

import kubernetes_validate  # type: ignore[import-not-found]

asked = json.load(sys.stdin)
complaints = []
for version in asked["versions"]:
    for manifest in asked["manifests"]:
        what = f"{version} {manifest['kind']}/{manifest['metadata']['name']}"
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            complaints.append(f"{what}: {'.'.join(map(str, error.path))}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError:
            if "k8s.io" in manifest["apiVersion"] or "." not in manifest["apiVersion"]:
                complaints.append(f"{what}: there is no such kind")
json.dump(complaints, sys.stdout)
