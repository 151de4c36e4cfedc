"""The models of benchmarks/scaling and benchmarks/search_scale.py, where their answers are known."""

import dataclasses

import pytest

from benchmarks import search_scale
from benchmarks.scaling import cost, model_parallel
from benchmarks.search_scale import Law

HOST = cost.Machine(rate=1000, peak=0, share=0, link=1e9, network=1e8, cores=2, gpus=4, latency=0, storage=1e9)
WORK = cost.Work(parameters=250_000, operations=0, image_bytes=1e5, decoded=100)


def test_a_step_has_the_seconds_of_its_parts() -> None:
    alone, several, hosts = (cost.step(HOST, WORK, number, 800) for number in (1, 2, 8))
    assert alone == pytest.approx({"compute": 0.8, "all-reduce": 0, "decode": 4, "read": 0.08})
    assert several == pytest.approx({"compute": 0.4, "all-reduce": 1e-3, "decode": 2, "read": 0.08})
    assert hosts["all-reduce"] == pytest.approx(2 * 7 / 8 * 1e6 / 4e8)  # 4 ports of a host
    late = dataclasses.replace(HOST, latency=0.01)
    assert cost.step(late, WORK, 8, 800)["all-reduce"] == pytest.approx(hosts["all-reduce"] + 14 * 0.01)


def test_messages_are_counted_in_a_compiled_program() -> None:
    program = """
      %a = f32[4,2]{1,0} all-gather(%x), replica_groups=[1,2]<=[2], dimensions={1}
      %b = (f32[3]{0}, /*index=1*/bf16[]) all-reduce(%y, %z), replica_groups={{0,1}}, to_apply=%add
      %c = f32[100]{0} all-reduce(%y), replica_groups={{0},{1}}, to_apply=%add
      %d = f32[100]{0} add(%y, %y)
    """
    assert model_parallel.communication(program) == {"all-gather": (1, 32), "all-reduce": (1, 14)}


def test_workers_limit_a_search_until_the_oracle_or_the_database_does() -> None:
    none, second = Law(0, 0, 0), Law(1, 0, 0)
    free = search_scale.simulate(1000, 10, 60, none, none, 0)
    assert free.hours == pytest.approx(1000 * 60 / 10 / 3600, rel=0.05)
    assert (free.limit, free.oracle) == ("workers", 0)
    oracle = search_scale.simulate(1000, 100, 60, second, none, 0.1)
    assert oracle.limit == "oracle"
    assert oracle.hours == pytest.approx(1000 / 3600, rel=0.1)
    database = search_scale.simulate(1000, 100, 60, none, none, 1)
    assert database.limit == "database"
    assert database.hours == pytest.approx(1000 / 3600 / (1 - 100 / 600), rel=0.1)  # the rest are heartbeats


def test_a_power_law_is_found_and_extrapolated() -> None:
    law = search_scale.fit((10, 20, 40, 80), [0.5, 0.4, 1.6, 6.4])
    assert law.exponent == pytest.approx(2)
    assert law(160) == pytest.approx(25.6)
    assert search_scale.busy_until(25.6, law, Law(0, 0, 0)) == pytest.approx(160, rel=0.06)
