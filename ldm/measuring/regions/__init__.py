"""Label maps of a brain's regions: the network, the tool that is shipped, its training."""

from ldm.measuring.regions.tool import RegionMap, RegionTool, load_region_tool

__all__ = ["RegionMap", "RegionTool", "load_region_tool"]
