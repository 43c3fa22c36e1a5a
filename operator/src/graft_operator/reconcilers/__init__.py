"""snapshot → plan → apply, once per kind. The only place where plans meet the world.

The way of one adapter, and of a base beside it::

    kubectl apply ─► watch ─► cache ─► routing ─► queue ─► reconcile(adapter)
                                                             │ snapshot   cache, artifacts, agents: no request
                                                             │ plan       pure: a Job, a target version, conditions
                                                             ▼ apply      Job, status ─┐ (each answer is in the cache
         a training Job publishes ─► registry ─► lookup ─► queue                       │  before the pass ends)
                                                                                       ▼
         adapter.status.serving ─► reconcile(base): places, grants, the wanted set ─► ConfigMap ─► agents
                                                                                  load, prove, route │
         adapter.status.servedVersion ◄─ reconcile(adapter) ◄─ queue ◄─ followers (agents/) ◄─ /state ◄┘

An adapter decides alone what it should be: which version, and where its alias points. Its base decides what is shared:
who has a place on the pods, and whose turn it is to be trained anew (``status.readaptation.granted``). Each reads the
other's decision in its status, so every step is durable before the next one is taken.

``dispatch`` gives each key to ``adapter`` or ``base_model``, which gather (``snapshots``), have the plan decide, and
let ``executor`` carry it out, in ``one_pass``. ``refused_children`` remembers what the API server refuses,
``verdict_recorder`` what was rolled back; ``reporting`` says it all on the objects, and ``failure_conditions`` what
keeps a pass from being planned.
"""

from graft_operator.reconcilers.dispatch import Dispatcher, platform_of

__all__ = ["Dispatcher", "platform_of"]
