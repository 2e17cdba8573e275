# SPDX-License-Identifier: Apache-2.0
"""Installation of the Python module without ROS: `pip install .`.

In a ROS workspace, `colcon build` installs it with the generated messages (CMakeLists.txt).
"""

import re
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """Requirements in requirements/<name>.txt."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


setup(
    name="mrmllm_ros",
    version=re.search(r"<version>(.+)</version>", (ROOT / "package.xml").read_text()).group(1),
    description="Ask a robot what its cameras see, and get answers that cite their evidence",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["mrmllm_ros*"]),
    package_data={
        "mrmllm_ros": ["checkpoints/*/*", "parameter_names.yaml"],
        "mrmllm_ros.benchmarks": ["*.json"],
        "mrmllm_ros.datasets.questions": ["*.yaml"],
        "mrmllm_ros.datasets.rendered": ["*.yaml", "shaders/*"],
        "mrmllm_ros.evaluation": ["labeled/*.json*", "photographs/*.json*"],
        "mrmllm_ros.model": ["label_scores/*.npz"],
        "mrmllm_ros.weights": ["*.yaml"],
    },
    # The same folder as with colcon.
    data_files=[("share/mrmllm_ros/config", sorted(glob("config/*.yaml", root_dir=ROOT)))],
    python_requires=">=3.10",
    install_requires=requirements("core"),
    extras_require={"test": requirements("test"), "train": requirements("train")},
    entry_points={"console_scripts": ["mrmllm = mrmllm_ros.cli.main:main"]},
)
