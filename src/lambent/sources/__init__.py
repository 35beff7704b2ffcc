"""What invokes functions besides requests that wait for the answer: the queue of asynchronous events."""
