"""`ray up` against moto's server in place of EC2: how it bootstraps infra/ray-up-aws.yaml, and
launches a head and a worker. By hand, for moto is none of our dependencies:

    pip install 'moto[ec2,iam,server]' && python -m tests.infra.ray_up
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from tests.infra.files import load, text

ROLES = ("brainpress-head", "brainpress-press")


def stand_in() -> tuple[str, str]:
    """What Terraform makes before: two roles, and a group for its owner; its id and a subnet's."""
    iam, ec2 = boto3.client("iam"), boto3.client("ec2")
    for name in ROLES:
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=text("aws/trust-policy.json"))
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="brainpress", Description="-", VpcId=vpc)["GroupId"]
    home = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
    ec2.authorize_security_group_ingress(
        GroupId=group, IpPermissions=[{**home, "IpRanges": [{"CidrIp": "198.51.100.7/32"}]}]
    )
    return group, ec2.describe_subnets()["Subnets"][0]["SubnetId"]


def open_to_the_world() -> list[str]:
    """The groups that let anybody in."""
    return [
        group["GroupName"]
        for group in boto3.client("ec2").describe_security_groups()["SecurityGroups"]
        if "0.0.0.0/0" in json.dumps(group["IpPermissions"])
    ]


def bootstrapped(cluster: dict[str, Any]) -> dict[str, Any]:
    """As `ray up` does it: checked, completed, and everything in it looked up or made."""
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.util import prepare_config, validate_config

    cluster = prepare_config(cluster)
    validate_config(cluster)
    done: dict[str, Any] = bootstrap_aws(cluster)
    return done


def launch(cluster: dict[str, Any], kind: str) -> dict[str, Any]:
    """One node of a kind, by Ray's own provider; as EC2 tells of it."""
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler.tags import TAG_RAY_NODE_KIND

    provider = AWSNodeProvider(cluster["provider"], cluster["cluster_name"])
    node = cluster["available_node_types"][kind]["node_config"]
    (name,) = provider.create_node(node, {TAG_RAY_NODE_KIND: kind}, 1)
    found = boto3.client("ec2").describe_instances(InstanceIds=[name])
    instance: dict[str, Any] = found["Reservations"][0]["Instances"][0]
    return instance


def main() -> None:
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "try",
        "AWS_SECRET_ACCESS_KEY": "try",
        "AWS_DEFAULT_REGION": "us-west-2",
    }
    os.environ["HOME"] = tempfile.mkdtemp()  # `ray up` keeps its SSH key there
    Path(os.environ["HOME"], ".ssh").mkdir()
    group, subnet = stand_in()
    cluster = load("ray-up-aws.yaml")
    for node in cluster["available_node_types"].values():
        node["node_config"] |= {"SecurityGroupIds": [group], "SubnetIds": [subnet]}
    done = bootstrapped(cluster)
    for kind in ("head", "gpu-spot"):
        instance = launch(done, kind)
        assert [g["GroupId"] for g in instance["SecurityGroups"]] == [group]
        print(
            f"{kind}: {instance['InstanceType']}, image {instance['ImageId']}, "
            f"profile {instance['IamInstanceProfile']['Arn'].rpartition('/')[2]}, "
            f"{instance.get('InstanceLifecycle', 'on demand')}"
        )
    assert not open_to_the_world(), open_to_the_world()
    print(f"groups open to the world: {open_to_the_world()}")
    without = load("ray-up-aws.yaml")
    without["provider"]["security_group"] = {"GroupName": "made-by-ray"}
    for node in without["available_node_types"].values():
        del node["node_config"]["SecurityGroupIds"]
        node["node_config"]["SubnetIds"] = [subnet]
    bootstrapped(without)
    print(f"without SecurityGroupIds: {open_to_the_world()}")
    server.stop()


if __name__ == "__main__":
    main()
