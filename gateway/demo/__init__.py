"""What `gateway demo` shows: an old service that knows nothing of sign-in, and the words that explain the demo.

It imports nothing of the gateway and nothing but the command line imports it, so it can be left out of an image.
"""

from gateway.demo.guide import Door, Example, Guide, Key, Person
from gateway.demo.legacy import Legacy

__all__ = ["Door", "Example", "Guide", "Key", "Legacy", "Person"]
