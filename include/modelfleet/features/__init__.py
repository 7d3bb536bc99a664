"""Features declared in a spec: computed for all partitions of a bucket at once, and for one row after another."""

from modelfleet.features.categories import MAX_CATEGORIES, categories_of, settle
from modelfleet.features.recipe import Recipe

__all__ = ["MAX_CATEGORIES", "Recipe", "categories_of", "settle"]
