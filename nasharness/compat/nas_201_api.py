"""Stands in for the package ``nas_201_api``: ``NASBench201API``, with the calls of its versions 1 and 2."""

from __future__ import annotations

from typing import Any, ClassVar

from nasharness.compat import api_utils
from nasharness.compat.api import Api
from nasharness.compat.results import Answers, ArchResults, ResultsCount

__all__ = ["ArchResults", "NASBench201API", "ResultsCount", "api_utils"]


class NASBench201API(Api):
    """The topology space. The path is not looked at.

    Where version 2 has ``hp``, version 1 has ``use_12epochs_result``, by keyword or in the same place.
    """

    comments: ClassVar[dict[str, str]] = {}

    def __init__(self, file_path_or_dict: Any = None, verbose: bool = True) -> None:
        super().__init__("tss", fast_mode=False, verbose=verbose)

    def get_more_info(
        self,
        index: Any,
        dataset: str,
        iepoch: int | None = None,
        hp: Any = "12",
        is_random: Any = True,
        use_12epochs_result: bool | None = None,
    ) -> Answers:
        """See `Api.get_more_info`."""
        return super().get_more_info(index, dataset, iepoch, _hp(hp, use_12epochs_result), is_random)

    def query_by_index(
        self, arch_index: Any, dataname: str | None = None, hp: Any = "200", use_12epochs_result: bool | None = None
    ) -> Any:
        """See `Api.query_by_index`; of the 200-epoch run unless told otherwise, as in version 1."""
        return super().query_by_index(arch_index, dataname, _hp(hp, use_12epochs_result))

    def query_meta_info_by_index(
        self, arch_index: Any, hp: Any = "12", use_12epochs_result: bool | None = None
    ) -> ArchResults:
        """See `Api.query_meta_info_by_index`."""
        return super().query_meta_info_by_index(arch_index, _hp(hp, use_12epochs_result))

    def query_by_arch(self, arch: Any, hp: Any = "12", use_12epochs_result: bool | None = None) -> str:
        """See `Api.query_info_str_by_arch`."""
        return super().query_by_arch(arch, _hp(hp, use_12epochs_result))

    def get_cost_info(
        self, index: Any, dataset: str, hp: Any = "12", use_12epochs_result: bool | None = None
    ) -> Answers:
        """See `Api.get_cost_info`."""
        return super().get_cost_info(index, dataset, _hp(hp, use_12epochs_result))


def _hp(hp: Any, use_12epochs_result: bool | None) -> Any:
    """The length of training that version 1's flag, given by keyword or in the place of ``hp``, means."""
    flag = hp if isinstance(hp, bool) else use_12epochs_result
    return hp if flag is None else "12" if flag else "200"
