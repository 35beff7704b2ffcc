"""Greets. Event: {"name": "Ada"}; answer: {"greeting": "Hello, Ada!"}."""


def lambda_handler(event, context):
    print(f"greeting from {context.function_name}, {context.get_remaining_time_in_millis()} ms left")
    return {"greeting": f"Hello, {event.get('name', 'world')}!"}
