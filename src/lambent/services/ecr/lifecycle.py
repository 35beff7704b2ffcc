"""Lifecycle policies: which images of a repository have had their time. Pure; the applying is elsewhere.

Source: ECR user guide, "Lifecycle policy parameters" and "Considerations": rules are taken by their priority, each
image is marked by one rule at most, and what one rule matches no later rule sees.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from lambent.services.ecr.records import Image

DAY = 86_400.0
_MEMBERS = {"rulePriority", "description", "selection", "action"}
_SELECTION = {"tagStatus", "tagPrefixList", "tagPatternList", "countType", "countUnit", "countNumber", "storageClass"}


class InvalidLifecycle(ValueError):
    """The text is no lifecycle policy. The message says why."""


@dataclass(frozen=True, slots=True)
class Rule:
    priority: int
    tag_status: str  # "tagged", "untagged", "any"
    prefixes: tuple[str, ...]
    patterns: tuple[str, ...]
    count_type: str  # "imageCountMoreThan", "sinceImagePushed", "sinceImagePulled"
    count: int  # images, or days

    def selects(self, image: Image) -> bool:
        """Whether the rule speaks of this image at all. An image must fit every prefix, by whichever of its tags."""
        if self.tag_status == "any":
            return True
        if self.tag_status == "untagged":
            return not image.tags
        if not image.tags:
            return False
        prefixed = all(any(tag.startswith(prefix) for tag in image.tags) for prefix in self.prefixes)
        return prefixed and all(
            any(fnmatch.fnmatchcase(tag, pattern) for tag in image.tags) for pattern in self.patterns
        )

    def expired(self, images: Iterable[Image], now: float) -> list[Image]:
        """Those of its own that are beyond the number or the age."""
        newest = sorted(images, key=lambda image: (image.pushed, image.digest), reverse=True)
        if self.count_type == "imageCountMoreThan":
            return newest[self.count :]
        limit = now - self.count * DAY
        return [image for image in newest if self._age(image) < limit]

    def _age(self, image: Image) -> float:
        if self.count_type == "sinceImagePulled":
            return image.pulled or image.pushed
        return image.pushed


def read(text: str) -> tuple[Rule, ...]:
    """The rules by their priority. InvalidLifecycle says what is wrong."""
    try:
        document = orjson.loads(text)
    except ValueError:
        raise InvalidLifecycle("Lifecycle policy is not JSON") from None
    listed = document.get("rules") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not listed or set(document) != {"rules"}:
        raise InvalidLifecycle("Lifecycle policy must have a list of rules")
    rules = sorted((_rule(entry) for entry in listed), key=lambda rule: rule.priority)
    if len({rule.priority for rule in rules}) != len(rules):
        raise InvalidLifecycle("rulePriority must be unique")
    if any(rule.tag_status == "any" for rule in rules[:-1]):
        raise InvalidLifecycle("A rule with tagStatus any must have the highest rulePriority")
    return tuple(rules)


def _rule(entry: Any) -> Rule:
    if not isinstance(entry, dict) or set(entry) - _MEMBERS:
        raise InvalidLifecycle("A rule has rulePriority, description, selection and action")
    priority, selection = _count(entry, "rulePriority"), entry.get("selection")
    if entry.get("action") != {"type": "expire"}:
        raise InvalidLifecycle("The only action that is built is expire")
    if not isinstance(selection, dict) or set(selection) - _SELECTION:
        raise InvalidLifecycle(
            "selection has tagStatus, tagPrefixList, tagPatternList, countType, countUnit, countNumber"
        )
    return _selection(priority, selection)


def _selection(priority: int, selection: dict[str, Any]) -> Rule:
    status, kind, count = selection.get("tagStatus"), selection.get("countType"), _count(selection, "countNumber")
    prefixes, patterns = _texts(selection, "tagPrefixList"), _texts(selection, "tagPatternList")
    if status not in ("tagged", "untagged", "any"):
        raise InvalidLifecycle("tagStatus must be tagged, untagged or any")
    if (status == "tagged") is not bool(prefixes or patterns) or (prefixes and patterns):
        raise InvalidLifecycle("tagStatus tagged, and no other, needs tagPrefixList or tagPatternList")
    if kind not in ("imageCountMoreThan", "sinceImagePushed", "sinceImagePulled"):
        raise InvalidLifecycle("countType must be imageCountMoreThan, sinceImagePushed or sinceImagePulled")
    if (selection.get("countUnit") == "days") is not (kind != "imageCountMoreThan"):
        raise InvalidLifecycle("countUnit days belongs to sinceImagePushed and sinceImagePulled")
    return Rule(priority, status, prefixes, patterns, kind, count)


def _count(given: dict[str, Any], name: str) -> int:
    value = given.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise InvalidLifecycle(f"{name} must be a positive number")
    return value


def _texts(selection: dict[str, Any], name: str) -> tuple[str, ...]:
    given = selection.get(name, [])
    if not isinstance(given, list) or not all(isinstance(text, str) and text for text in given):
        raise InvalidLifecycle(f"{name} must be a list of texts")
    return tuple(given)


def evaluate(rules: Sequence[Rule], images: Iterable[Image], now: float) -> list[tuple[Image, int]]:
    """(image, priority of the rule that expires it), in the order of rules."""
    left, expired = list(images), []
    for rule in rules:
        mine = [image for image in left if rule.selects(image)]
        expired += [(image, rule.priority) for image in rule.expired(mine, now)]
        left = [image for image in left if image not in mine]
    return expired
