"""What is different in moto's CloudFormation: whose resources they are, and what becomes of a stack that fails.

moto creates a stack within the call that asks for it, and lets an error of a resource become an error of that call. AWS
answers at once, and the stack tells: `CREATE_FAILED` of the resource with the reason, then everything is rolled back.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator
from typing import Any

from moto.cloudformation import models, parsing, responses
from moto.cloudformation.exceptions import CloudFormationError, ValidationError
from moto.sqs.models import Queue

from lambent.embedded import native
from lambent.embedded.stacks import templates
from lambent.embedded.stacks.kinds import IGNORED, KINDS

_log = logging.getLogger("lambent.embedded")

_class_from_type = parsing.resource_class_from_type
_name_property = parsing.resource_name_property_from_type
_clean = parsing.clean_json
_create_one = parsing.parse_and_create_resource
_update_one = parsing.parse_and_update_resource


class ChangeSetNotFound(CloudFormationError):  # type: ignore[misc]
    code = "ChangeSetNotFound"

    def __init__(self, name: str) -> None:
        super().__init__(f"ChangeSet [{name}] does not exist")


class ResourceFailed(Exception):
    """A resource could not be made or changed. The stack's events say which and why."""


# Resources


def clean_json(value: Any, resources: Any) -> Any:
    """As moto does it; and what `AWS::NoValue` stands for is left out of lists too."""
    if isinstance(value, list):
        return [item for item in (clean_json(each, resources) for each in value) if item is not None]
    return _clean(value, resources)


def resource_class_from_type(kind: str) -> Any:
    if kind in KINDS:
        return KINDS[kind]
    if kind in IGNORED:
        return None
    if kind.startswith("Custom::") or kind == "AWS::CloudFormation::CustomResource":
        raise ValidationError(message=f"Custom resources ({kind}) are not built yet.")
    found = _class_from_type(kind)
    if found is None and kind not in parsing.NULL_MODELS:
        raise ValidationError(
            message=f"Resources of the type {kind} are not built: neither Lambent nor moto makes them."
        )
    return found


def resource_name_property_from_type(kind: str) -> Any:
    return KINDS[kind].NAME or None if kind in KINDS else _name_property(kind)


def create_one(logical_id: str, resource_json: Any, resources: Any, account_id: str, region_name: str) -> Any:
    condition = resource_json.get("Condition")
    if condition and not resources.lazy_condition_map[condition]:
        return None
    with _told(logical_id, resource_json, resources, "CREATE") as made:
        made.append(_create_one(logical_id, resource_json, resources, account_id, region_name))
    return made[-1]


def update_one(logical_id: str, resource_json: Any, resources: Any, account_id: str, region_name: str) -> Any:
    with _told(logical_id, resource_json, resources, "UPDATE") as made:
        made.append(_update_one(logical_id, resource_json, resources, account_id, region_name))
    return made[-1] if made[-1] is not None else resources[logical_id]


@contextlib.contextmanager
def _told(logical_id: str, resource_json: Any, resources: Any, verb: str) -> Iterator[list[Any]]:
    """The events of one resource around its making; ResourceFailed for what goes wrong."""
    stack = models.cloudformation_backends[resources._account_id][resources._region_name].stacks.get(resources.stack_id)
    kind, made = resource_json["Type"], list[Any]()

    def tell(status: str, reason: str | None = None) -> None:
        if stack is not None:
            place = getattr(made[-1], "physical_resource_id", "") if made and made[-1] is not None else ""
            event = models.Event(stack.stack_id, stack.name, logical_id, place, kind, f"{verb}_{status}", reason, None)
            stack.events.append(event)

    tell("IN_PROGRESS")
    try:
        yield made
    except ResourceFailed:
        tell("FAILED", "Resource creation cancelled")
        raise
    except Exception as error:
        if not isinstance(error, CloudFormationError):
            _log.info("the resource %s (%s) failed", logical_id, kind, exc_info=True)
        reason = str(error) or type(error).__name__
        tell("FAILED", f'Resource handler returned message: "{reason}"')
        raise ResourceFailed(f"{logical_id} ({kind}): {reason}") from error
    tell("COMPLETE")


def update_resources(resources: Any, template: dict[str, Any], parameters: dict[str, Any] | None) -> None:
    """Add, change, then remove, in the order of what refers to what."""
    before = resources.build_resource_diff(template, parameters)
    removed = {name: resources._parsed_resources.get(name) for name in before["Remove"]}
    old = dict(resources._resource_json_map)
    resources._template, resources._resource_json_map = template, template["Resources"]
    if parameters is not None:
        resources.input_parameters = parameters
    for name in removed:
        resources._parsed_resources.pop(name, None)
    resources.load_mapping()
    resources.load_parameters()
    resources.load_conditions()
    resources.validate_outputs()
    modified = set(before["Modify"])
    for name in order(template["Resources"]):
        if name in modified and name in resources._parsed_resources:
            resource = update_one(
                name, template["Resources"][name], resources, resources._account_id, resources._region_name
            )
            if resource.physical_resource_id != resources._parsed_resources[name].physical_resource_id:
                modified |= users(name, template["Resources"])  # who refers to it gets the new one
            resources._parsed_resources[name] = resource
        else:
            _ = resources[name]
    delete_resources(resources, {name: resource for name, resource in removed.items() if resource is not None}, old)


def delete_resources(resources: Any, parsed: dict[str, Any], templates_of: dict[str, Any]) -> None:
    """Users before what they use; those with `DeletionPolicy: Retain` stay. The last error, once the rest is gone."""
    failure: Exception | None = None
    for name in reversed(order({name: templates_of.get(name, {}) for name in parsed})):
        if templates_of.get(name, {}).get("DeletionPolicy") in ("Retain", "RetainExceptOnCreate"):
            continue
        try:
            resources._delete_resource(parsed[name], templates_of[name])
        except Exception as error:
            _log.info("the resource %s could not be removed: %s", name, error)
            failure = ResourceFailed(f"{name}: {error}")
    if failure is not None:
        raise failure


def references(value: Any) -> set[str]:
    """The logical ids that a part of a template refers to."""
    return templates.references(value)


def users(name: str, table: dict[str, Any]) -> set[str]:
    return {other for other, resource in table.items() if name in references(resource)}


def order(table: dict[str, Any]) -> list[str]:
    """Logical ids, each behind those that it refers to or depends on."""
    placed: list[str] = []
    seen: set[str] = set()

    def place(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        for other in sorted(references(table[name]) & table.keys()):
            place(other)
        placed.append(name)

    for name in table:
        place(name)
    return placed


# Stacks


def create_resources(stack: Any) -> None:
    stack.status = "CREATE_IN_PROGRESS"
    resources = stack.resource_map
    resources.tags.update({"aws:cloudformation:stack-name": stack.name, "aws:cloudformation:stack-id": stack.stack_id})
    _apply(stack, "CREATE", stack.template_dict, None)


def update(stack: Any, template: str, role_arn: Any = None, parameters: Any = None, tags: Any = None) -> None:
    stack._add_stack_event("UPDATE_IN_PROGRESS", resource_status_reason="User Initiated")
    _change(stack, template, parameters)
    if role_arn:
        stack.role_arn = role_arn
    if tags is not None:
        stack.tags = tags


def _change(stack: Any, template: str, parameters: Any) -> None:
    before = (stack.template, stack.template_dict, dict(stack.parameters))
    stack.template, stack.template_dict = template, stack.parse_template(template)
    if parameters is not None:
        stack.parameters = parameters
    if not _apply(stack, "UPDATE", stack.template_dict, parameters):
        stack.template, stack.template_dict, stack.parameters = before
        stack.status = "UPDATE_ROLLBACK_IN_PROGRESS"
        stack._add_stack_event(stack.status)
        try:
            update_resources(stack.resource_map, before[1], before[2])
            stack.status = "UPDATE_ROLLBACK_COMPLETE"
        except Exception as error:
            stack.status = "UPDATE_ROLLBACK_FAILED"
            _log.info("the stack %s could not be rolled back: %s", stack.name, error)
        stack.output_map = stack._create_output_map()
        stack._add_stack_event(stack.status)


def _apply(stack: Any, verb: str, template: dict[str, Any], parameters: Any) -> bool:
    """Make the stack what the template says. False: it failed, and a new one has been rolled back."""
    try:
        if verb == "CREATE":
            resources = stack.resource_map
            resources._resource_json_map = template["Resources"]
            for name in order(template["Resources"]):
                _ = resources[name]
        else:
            update_resources(stack.resource_map, template, parameters)
        stack.output_map = stack._create_output_map()
        _ = stack.outputs
    except Exception as error:
        if not isinstance(error, ResourceFailed | CloudFormationError):
            _log.warning("the stack %s failed", stack.name, exc_info=True)
        reason = f"The following resource(s) failed: [{error}]."
        if verb == "CREATE":
            _roll_back(stack, reason)
        else:
            stack._add_stack_event("UPDATE_FAILED", resource_status_reason=reason)
        return False
    stack.description = template.get("Description")
    stack.status = f"{verb}_COMPLETE"
    stack._add_stack_event(stack.status)
    return True


def _roll_back(stack: Any, reason: str) -> None:
    stack._add_stack_event("ROLLBACK_IN_PROGRESS", resource_status_reason=reason)
    stack.status_reason = reason
    resources = stack.resource_map
    names = set(resources._resource_json_map)
    parsed = {name: resource for name, resource in resources._parsed_resources.items() if name in names}
    try:
        delete_resources(resources, parsed, resources._resource_json_map)
        stack.status = "ROLLBACK_COMPLETE"
    except Exception:
        stack.status = "ROLLBACK_FAILED"
    for name in parsed:
        resources._parsed_resources.pop(name, None)
    resources._resource_json_map = {}  # whoever lists what there is would make it again
    stack.output_map = parsing.OutputMap(resources, {}, stack.stack_id)
    stack._add_stack_event(stack.status)


def delete(stack: Any) -> None:
    stack._add_stack_event("DELETE_IN_PROGRESS", resource_status_reason="User Initiated")
    resources = stack.resource_map
    names = set(resources._resource_json_map)
    parsed = {name: resource for name, resource in resources._parsed_resources.items() if name in names}
    delete_resources(resources, parsed, resources._resource_json_map)
    stack.status = "DELETE_COMPLETE"
    stack._add_stack_event("DELETE_COMPLETE")


def delete_stack(backend: Any, name_or_stack_id: str) -> None:
    stack = next((each for key, each in backend.stacks.items() if name_or_stack_id in (key, each.name)), None)
    if stack is None:
        return
    exports = [export.name for export in stack.exports]
    try:
        delete(stack)
    except Exception as error:
        stack.status = "DELETE_FAILED"
        stack._add_stack_event("DELETE_FAILED", resource_status_reason=str(error))
        return
    del backend.stacks[stack.stack_id]
    backend.deleted_stacks[stack.stack_id] = stack
    for export in exports:
        backend.exports.pop(export, None)
    for key in [key for key, each in backend.change_sets.items() if each.stack_id == stack.stack_id]:
        del backend.change_sets[key]


def stack_parameters(stack: Any) -> dict[str, Any]:
    """As they were given: `UsePreviousValue` of a parameter that names one of SSM means that name, not its value."""
    declared = stack.template_dict.get("Parameters") or {}
    return {name: stack.parameters.get(name, each.get("Default")) for name, each in declared.items()}


# Change sets: their names are of one stack, where moto has them for all


def find_change_set(backend: Any, name: str, stack: str | None) -> Any:
    if name in backend.change_sets:
        return backend.change_sets[name]
    for each in reversed(backend.change_sets.values()):  # of those that were executed the last one stays known
        if each.change_set_name == name and stack in (None, each.stack_name, each.stack_id):
            return each
    raise ChangeSetNotFound(name)


def _asked(response: Any) -> Any:
    return find_change_set(
        response.cloudformation_backend, response._get_param("ChangeSetName"), response._get_param("StackName")
    )


def describe_change_set(response: Any) -> Any:
    return responses.ActionResult(_asked(response))


def delete_change_set(response: Any) -> Any:
    with contextlib.suppress(ChangeSetNotFound):
        del response.cloudformation_backend.change_sets[_asked(response).change_set_id]
    return responses.EmptyResult()


def execute_change_set(response: Any) -> Any:
    change_set = _asked(response)
    stack = response.cloudformation_backend.stacks[change_set.stack_id]
    change_set.execution_status = "EXECUTE_IN_PROGRESS"
    if change_set.change_set_type == "CREATE":
        stack._add_stack_event("CREATE_IN_PROGRESS", resource_status_reason="User Initiated")
        stack.template, stack.parameters = change_set.template, change_set.parameters
        stack.template_dict = change_set.template_dict
        stack.tags = change_set.tags or stack.tags
        stack.resource_map = stack._create_resource_map()
        create_resources(stack)
    else:
        stack._add_stack_event("UPDATE_IN_PROGRESS", resource_status_reason="User Initiated")
        _change(stack, change_set.template, change_set.parameters)
        stack.tags = change_set.tags or stack.tags
    for export in stack.exports if stack.status.endswith("E_COMPLETE") else []:
        response.cloudformation_backend.exports[export.name] = export
    change_set.execution_status = "EXECUTE_COMPLETE"
    return responses.EmptyResult()


def parse_template(template: str) -> dict[str, Any]:
    return copy.deepcopy(templates.read(template))


def _parse_change_set(change_set: Any) -> None:
    change_set.template_dict = parse_template(change_set.template)


def validate_template(response: Any) -> Any:
    body, url = response._get_param("TemplateBody"), response._get_param("TemplateURL")
    if url:
        body = response._get_stack_from_s3_url(url)
    return responses.ActionResult(templates.summary(body))


def _queue_url(queue: Any) -> str:
    """Where clients reach it: moto names a host of AWS."""
    return f"{native.endpoint()}/{queue.account_id}/{queue.name}"


def install() -> None:
    Queue.physical_resource_id = property(_queue_url)
    parsing.clean_json = clean_json
    parsing.resource_class_from_type = resource_class_from_type
    parsing.resource_name_property_from_type = resource_name_property_from_type
    parsing.parse_and_create_resource = create_one
    models.Stack.create_resources = create_resources
    models.Stack.update = update
    models.Stack.delete = delete
    models.Stack.stack_parameters = property(stack_parameters)
    models.Stack.parse_template = staticmethod(parse_template)
    models.ChangeSet._parse_template = _parse_change_set
    models.CloudFormationBackend.delete_stack = delete_stack
    for module in (models, responses):
        module.get_stack_from_s3_url = templates.fetch
    for handler in (describe_change_set, delete_change_set, execute_change_set, validate_template):
        setattr(responses.CloudFormationResponse, handler.__name__, handler)
