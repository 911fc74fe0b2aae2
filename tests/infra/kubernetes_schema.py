"""The fields of the Kubernetes objects that infra/ uses, as a strict JSON schema.

Names, types and enums are those of the API references of KubeRay (ray.io/v1), Kubernetes (core/v1)
and the Prometheus Operator (monitoring.coreos.com/v1). A field that is not here is a mistake, or
belongs here too once it was looked up.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

STRING: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
TRUTH: Schema = {"type": "boolean"}
QUANTITY: Schema = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|Ki|Mi|Gi|Ti)?$"}
SECONDS: Schema = {"type": "string", "pattern": r"^[0-9]+[smh]$"}
NAME: Schema = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
STRINGS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}


def strict(required: str = "", **fields: Schema) -> Schema:
    """An object of these fields and no others."""
    return {
        "type": "object",
        "properties": fields,
        "required": required.split(),
        "additionalProperties": False,
    }


def several(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


RESOURCES: Schema = {
    "type": "object",
    "propertyNames": {"enum": ["cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"]},
    "additionalProperties": QUANTITY,
}
CONTAINER = strict(
    "name image resources",
    name=NAME,
    image=STRING,
    securityContext=strict(
        allowPrivilegeEscalation=TRUTH,
        capabilities=strict(drop=several(STRING)),
    ),
    ports=several(
        strict(
            "name containerPort",
            name={"type": "string", "pattern": "^[a-z0-9-]{1,15}$"},
            containerPort={"type": "integer", "minimum": 1, "maximum": 65535},
        )
    ),
    volumeMounts=several(strict("name mountPath", name=NAME, mountPath=STRING)),
    env=several(strict("name value", name=STRING, value=STRING)),
    envFrom=several(strict("secretRef", secretRef=strict("name", name=NAME, optional=TRUTH))),
    resources=strict("requests limits", requests=RESOURCES, limits=RESOURCES),
)
POD_TEMPLATE = strict(
    "metadata spec",
    metadata=strict(labels=STRINGS, annotations=STRINGS),
    spec=strict(
        "containers",
        serviceAccountName=NAME,
        automountServiceAccountToken=TRUTH,
        terminationGracePeriodSeconds=COUNT,
        restartPolicy={"enum": ["Always", "OnFailure", "Never"]},
        volumes=several(
            strict(
                "name",
                name=NAME,
                persistentVolumeClaim=strict("claimName", claimName=NAME),
                emptyDir=strict(medium={"enum": ["", "Memory"]}, sizeLimit=QUANTITY),
            )
        ),
        securityContext=strict(
            runAsNonRoot=TRUTH,
            runAsUser=COUNT,
            runAsGroup=COUNT,
            fsGroup=COUNT,
            seccompProfile=strict("type", type={"enum": ["RuntimeDefault", "Unconfined"]}),
        ),
        nodeSelector=STRINGS,
        tolerations=several(
            strict(
                key=STRING,
                operator={"enum": ["Exists", "Equal"]},
                effect={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
            )
        ),
        containers=several(CONTAINER),
    ),
)
METADATA = strict("name", name=NAME, labels=STRINGS)

RAYJOB = strict(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=METADATA,
    spec=strict(
        "entrypoint rayClusterSpec",
        entrypoint=STRING,
        backoffLimit=COUNT,
        submitterConfig=strict(backoffLimit=COUNT),
        activeDeadlineSeconds={"type": "integer", "minimum": 1},
        shutdownAfterJobFinishes=TRUTH,
        ttlSecondsAfterFinished=COUNT,
        rayClusterSpec=strict(
            "headGroupSpec",
            rayVersion=STRING,
            authOptions=strict(mode={"enum": ["disabled", "token"]}),
            enableInTreeAutoscaling=TRUTH,
            autoscalerOptions=strict(
                version={"enum": ["v1", "v2"]},
                idleTimeoutSeconds=COUNT,
                upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
                resources=strict(requests=RESOURCES, limits=RESOURCES),
            ),
            headGroupSpec=strict("template", rayStartParams=STRINGS, template=POD_TEMPLATE),
            workerGroupSpecs=several(
                strict(
                    "groupName template",
                    groupName=NAME,
                    replicas=COUNT,
                    minReplicas=COUNT,
                    maxReplicas=COUNT,
                    rayStartParams=STRINGS,
                    template=POD_TEMPLATE,
                )
            ),
        ),
    ),
)
PODMONITOR = strict(
    "apiVersion kind metadata spec",
    apiVersion={"const": "monitoring.coreos.com/v1"},
    kind={"const": "PodMonitor"},
    metadata=METADATA,
    spec=strict(
        "selector podMetricsEndpoints",
        selector=strict("matchLabels", matchLabels=STRINGS),
        podMetricsEndpoints=several(strict("port", port=STRING, path=STRING, interval=SECONDS)),
    ),
)
PROMETHEUS_RULE = strict(
    "apiVersion kind metadata spec",
    apiVersion={"const": "monitoring.coreos.com/v1"},
    kind={"const": "PrometheusRule"},
    metadata=METADATA,
    spec=strict(
        "groups",
        groups=several(
            strict(
                "name rules",
                name=STRING,
                rules=several(
                    strict(
                        "alert expr labels annotations",
                        alert=STRING,
                        expr=STRING,
                        labels=STRINGS,
                        annotations=STRINGS,
                        **{"for": SECONDS},
                    )
                ),
            )
        ),
    ),
)
VOLUME_CLAIM = strict(
    "apiVersion kind metadata spec",
    apiVersion={"const": "v1"},
    kind={"const": "PersistentVolumeClaim"},
    metadata=METADATA,
    spec=strict(
        "accessModes resources",
        accessModes=several(
            {"enum": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]}
        ),
        storageClassName=NAME,
        resources=strict("requests", requests=strict("storage", storage=QUANTITY)),
    ),
)
SCHEMAS = {
    "RayJob": RAYJOB,
    "PodMonitor": PODMONITOR,
    "PrometheusRule": PROMETHEUS_RULE,
    "PersistentVolumeClaim": VOLUME_CLAIM,
}
