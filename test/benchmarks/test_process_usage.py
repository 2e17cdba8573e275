# SPDX-License-Identifier: Apache-2.0
import os

import pytest

from mrmllm_ros.benchmarks.process_usage import ProcessUsage, cpu_seconds, memory_mib

# Fields of /proc/PID/stat up to stime: 300 ticks in user mode, 50 in system mode.
STAT = "17 ({name}) S 1 17 17 0 -1 4194304 100 0 2 0 300 50 7 9 20 0 12 0 1234 5678 90\n"
STATUS = "Name:\tpython\nVmPeak:\t  999999 kB\nVmRSS:\t  524288 kB\nRssAnon:\t  262144 kB\n"


@pytest.mark.parametrize("name", ["python", "a name", "odd) 1 2 (name", ""])
def test_processor_time_is_that_in_user_and_system_mode_for_any_name(name):
    ticks_hz = os.sysconf("SC_CLK_TCK")
    assert cpu_seconds(STAT.format(name=name)) == pytest.approx(350 / ticks_hz)


def test_memory_is_read_by_the_name_of_its_line():
    assert memory_mib(STATUS, "VmRSS") == 512
    assert memory_mib(STATUS, "RssAnon") == 256


@pytest.mark.parametrize("status", ["", "Name:\tpython\nState:\tZ (zombie)\n"])
def test_a_process_that_has_ended_holds_no_memory(status):
    assert memory_mib(status, "VmRSS") == 0


def test_this_process_uses_time_and_memory():
    usage = ProcessUsage.of(os.getpid())
    assert usage.cpu_s > 0
    assert usage.resident_mib > usage.anonymous_mib > 0


def test_a_process_that_does_not_exist_is_an_error():
    with pytest.raises(FileNotFoundError):
        ProcessUsage.of(2**30)
