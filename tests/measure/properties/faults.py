"""Faults to plant into the canonical step, and unusual steps that are correct."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """The replaced lines, the properties that they break, and their explanation."""

    breaks: tuple[str, ...]
    says: str
    instead: dict[str, str]


def fault(breaks: str, says: str, **instead: str) -> Fault:
    return Fault(tuple(breaks.split()), says, instead)


ZEROED = {
    "forgets zero_grad": fault("zeroed-gradients", "forgets zero_grad", clear=""),
    "zeroes every other step": fault(
        "zeroed-gradients",
        "forgets zero_grad in some steps",
        clear="COUNT.append(1)\nif len(COUNT) % 2:\n    {clear}",
    ),
    "zeroes one parameter only": fault(
        "zeroed-gradients", "forgets zero_grad", clear="next(task.model.parameters()).grad = None"
    ),
    "zeroes after the update": fault(
        "zeroed-gradients work-in-its-phase", "calls zero_grad in `optimizer`", clear="", update="{update}\n{clear}"
    ),
    "zeroes after backward": fault(
        "work-in-its-phase loss-reaches-parameters loss-decreases",
        "the gradients are cleared in `backward`, not in `zero_grad`",
        clear="",
        differentiate="{differentiate}\n{clear}",
    ),
}
CLOSED = (
    "def again():\n    {}\n    with torch.enable_grad():\n        loss = task.loss_fn(task.model(inputs), targets)\n"
)
CLOSED += "    {}\n    return loss\nloss = task.optimizer.step(again)"
WITHIN = dict.fromkeys(("clear", "predict", "compare", "differentiate"), "")
"""A closure, with its call of zero_grad and of backward, and the lines that it replaces."""
CLOSURES = {
    "forgets zero_grad in a closure": fault(
        "zeroed-gradients",
        "set_to_none=True) in the closure, before backward",
        **WITHIN,
        update=CLOSED.format("pass", "loss.backward()"),
    ),
    "forgets backward in a closure": fault(
        "loss-reaches-parameters loss-decreases",
        "call loss.backward() in the closure",
        **WITHIN,
        update=CLOSED.format("{clear}", "pass"),
    ),
}
UPDATES = {
    "steps twice": fault("one-update", "steps twice", update="{update}\n{update}"),
    "steps three times": fault("one-update", "steps 3 times", update="for _ in range(3):\n    {update}"),
    "never steps": fault("one-update loss-decreases", "never steps", update=""),
    "steps again after the last yield": fault(
        "one-update only-optimizer-moves-parameters work-in-its-phase",
        "moves parameters in the code after the last yield",
        leave="{leave}\n{update}",
    ),
    "steps in backward": fault(
        "only-optimizer-moves-parameters work-in-its-phase",
        "moves parameters in `backward`",
        differentiate="{differentiate}\n{update}",
        update="",
    ),
    "decays weights in zero_grad": fault(
        "only-optimizer-moves-parameters",
        "moves parameters in `zero_grad`, not only in `optimizer`: classifier.weight",
        clear="{clear}\nwith torch.no_grad():\n    task.model.classifier.weight.mul_(0.99)",
    ),
}
WRONG_PHASE = {
    "does everything before its first yield": fault(
        "only-optimizer-moves-parameters work-in-its-phase",
        "computes in the wrong phase: the model is called in `zero_grad`",
        clear="{clear}\n{predict}\n{compare}\n{differentiate}\n{update}",
        predict="",
        compare="",
        differentiate="",
        update="",
    ),
    "predicts in zero_grad": fault(
        "work-in-its-phase",
        "computes in the wrong phase: the model is called in `zero_grad`, not in `forward`",
        clear="{clear}\n{predict}",
        predict="",
    ),
    "predicts in loss, layer by layer": fault(
        "work-in-its-phase",
        "the model is called in `loss`, not in `forward`",
        predict="",
        compare="predictions = task.model.classifier(task.model.blocks(inputs).mean((2, 3)))\n"
        "loss = F.cross_entropy(predictions, targets)",
    ),
    "compares in forward": fault(
        "work-in-its-phase",
        "the loss is computed in `forward`, not in `loss`",
        predict="{predict}\n{compare}",
        compare="",
    ),
    "compares in forward, by a loss function of its own": fault(
        "work-in-its-phase",
        "the loss is computed in `forward`, not in `loss`",
        predict="{predict}\nloss = F.cross_entropy(predictions, targets)",
        compare="",
    ),
    "differentiates in loss": fault(
        "work-in-its-phase",
        "the backward pass runs in `loss`, not in `backward`",
        compare="{compare}\n{differentiate}",
        differentiate="",
    ),
    "trains in a closure": fault(
        "work-in-its-phase",
        "the optimizer's closure computes it again: leave out the same work before it, or the closure",
        update="def again():\n    with torch.enable_grad():\n        loss = task.loss_fn(task.model(inputs), targets)\n"
        "        loss.backward()\n        return loss\ntask.optimizer.step(again)",
    ),
}
LOSS = {
    "detaches the loss": fault(
        "loss-reaches-parameters", "detaches the loss", compare="{compare}\nloss = loss.detach()"
    ),
    "predicts under no_grad": fault(
        "loss-reaches-parameters", "detaches the loss", predict="with torch.no_grad():\n    {predict}"
    ),
    "detaches the predictions and asks for their gradient": fault(
        "loss-reaches-parameters loss-decreases",
        "no parameter gets a gradient",
        predict="{predict}\npredictions = predictions.detach().requires_grad_()",
    ),
    "detaches half of the model": fault(
        "loss-reaches-parameters loss-decreases",
        "detaches part of the model: blocks.0.0.bias",
        predict="predictions = task.model.classifier(task.model.blocks(inputs).detach().mean((2, 3)))",
    ),
    "forgets the mean": fault(
        "scalar-loss", "no scalar", compare='loss = F.cross_entropy(predictions, targets, reduction="none")'
    ),
    "leaves a loss of one row": fault("scalar-loss", "shape (1,)", leave="{leave}[None]"),
    "keeps the graph": fault("scalar-loss", "still holds its graph", leave="task.last_loss = loss"),
    "leaves no loss": fault("scalar-loss", "never sets task.last_loss", leave=""),
    "leaves a loss that is no number": fault("scalar-loss", "nan", leave="{leave} / 0 * 0"),
    "climbs": fault("loss-decreases", "does not decrease", differentiate="(-loss).backward()"),
    "learns too slowly": fault(
        "loss-decreases",
        "the step's learning rate is 1e-07, and eager's 0.01",
        clear="{clear}\ntask.optimizer.param_groups[0]['lr'] = 1e-7",
    ),
    "tells a loss of its own": fault(
        "loss-decreases seed-decides",
        "another seed gives exactly the same loss",
        leave="task.last_loss = torch.tensor(2.0)",
    ),
    "draws without the seed": fault(
        "seed-decides",
        "the same seed gives different losses from step 1 on",
        predict="unseeded = torch.Generator()\nunseeded.seed()\n"
        "predictions = task.model(inputs + torch.randn(inputs.shape, generator=unseeded))",
    ),
}
WAITS = {
    "reads the loss": fault("no-hidden-synchronisation", "in `loss`", compare="{compare}\nfloat(loss.detach())"),
    "looks for NaN": fault(
        "no-hidden-synchronisation", "in `backward`", differentiate="if not torch.isnan(loss):\n    {differentiate}"
    ),
    "copies the loss": fault("no-hidden-synchronisation", "copies to the CPU, as .cpu()", leave="{leave}.cpu()"),
    "prints the loss": fault("no-hidden-synchronisation", "as print does", leave="{leave}\nprint(loss)"),
    "picks rows by a mask": fault(
        "no-hidden-synchronisation",
        "indexes by a mask",
        compare="sure = targets > 4\nloss = task.loss_fn(predictions[sure], targets[sure])",
    ),
    "waits for the device": fault(
        "no-hidden-synchronisation",
        "calls torch.cuda.synchronize()",
        predict="{predict}\ntorch.cuda.synchronize()",
    ),
}
LEFT = {
    "yields inside autocast": fault(
        "no-yield-in-with",
        "autocast is still on at the yield of `forward`",
        predict='with torch.autocast("cpu", dtype=torch.bfloat16):\n    {predict}\n    {predicted}',
        predicted="",
    ),
    "yields inside a context that changes nothing": fault(
        "no-yield-in-with",
        "yields inside a `with` at",
        compare="with task.autocast:\n    {compare}\n    {compared}",
        compared="",
    ),
    "leaves no_grad on": fault("no-yield-in-with", "leaves no_grad on", leave="{leave}\ntorch.set_grad_enabled(False)"),
    "changes the batch": fault(
        "batch-and-mode-kept", "inputs differ after the step", clear="{clear}\ninputs.mul_(0.5)"
    ),
    "leaves the model in eval": fault("batch-and-mode-kept", "the whole model", leave="{leave}\ntask.model.eval()"),
}
PHASES = {
    "yields loss before forward": fault(
        "phases-in-order work-in-its-phase",
        "`loss` comes out of order",
        predicted="{compared}",
        compared="{predicted}",
    ),
    "has no zero_grad": fault("phases-in-order", "has no phase `zero_grad`", cleared=""),
    "yields optimizer twice": fault("phases-in-order", "`optimizer` comes again", updated="{updated}\n{updated}"),
    "yields data": fault("phases-in-order", "yields `data`", clear="yield 'data'\n{clear}"),
    "yields another phase in other steps": fault(
        "phases-in-order",
        "different phases in different steps",
        differentiated="{differentiated}\nCOUNT.append(1)\nif len(COUNT) == 2:\n"
        "    yield 'forward'\n    yield 'loss'\n    yield 'backward'",
    ),
}
STOPS = {
    "raises in forward": fault("runs", "in `forward`: its own mistake", predict="raise ValueError('its own mistake')"),
    "raises at last": fault(
        "runs", "raises KeyError", leave="{leave}\nCOUNT.append(1)\nif len(COUNT) > 40:\n    dict()['no']"
    ),
    "never ends": fault(
        "runs", "never ends", clear="while True:\n    yield 'zero_grad'", leave="task.last_loss = loss.detach()"
    ),
    "grows the model": fault(
        "runs",
        "adds or removes parameters of the model: late.weight",
        leave="{leave}\nCOUNT.append(1)\nif len(COUNT) == 2:\n"
        "    task.model.add_module('late', torch.nn.Linear(1, 1, bias=False))",
    ),
    "exits": fault("runs", "raises SystemExit", leave="{leave}\nraise SystemExit(0)"),
    "forks": fault(
        "runs",
        "forks its process",
        leave="{leave}\nCOUNT.append(1)\nif len(COUNT) == 30:\n    __import__('os').fork()",
    ),
}
FAULTS = ZEROED | CLOSURES | UPDATES | WRONG_PHASE | LOSS | WAITS | LEFT | PHASES | STOPS

PENALTY = {
    "predict": "inputs = inputs.clone().requires_grad_()\n{predict}",
    "compare": "(slope,) = torch.autograd.grad(predictions.sum(), inputs, create_graph=True)\n"
    "loss = task.loss_fn(predictions, targets) + slope.square().mean()",
}
ODD = {
    "the step as it is": {},
    "a model called twice": {"predict": "predictions = (task.model(inputs) + task.model(inputs)) / 2"},
    "a loss computed twice": {"compare": "{compare}\n{compare}"},
    "a loss function of its own": {"compare": "loss = F.cross_entropy(predictions, targets)"},
    "gradients zeroed in place": {"clear": "task.optimizer.zero_grad(set_to_none=False)"},
    "gradients cleared one by one": {"clear": "for parameter in task.model.parameters():\n    parameter.grad = None"},
    "gradients by torch.autograd.grad": {
        "differentiate": "every = list(task.model.parameters())\n"
        "for one, gradient in zip(every, torch.autograd.grad(loss, every)):\n    one.grad = gradient"
    },
    "a gradient within the loss": PENALTY,
    "a gradient of the inputs alone": {
        "predict": "image = inputs.clone().requires_grad_()\n"
        "(slope,) = torch.autograd.grad(F.cross_entropy(task.model(image), targets), image)\n"
        "predictions = task.model(inputs + 0.01 * slope.sign())"
    },
    "gradients clipped": {"update": "torch.nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)\n{update}"},
    "a checkpoint of the whole model": {
        "predict": "from torch.utils.checkpoint import checkpoint\n"
        "predictions = checkpoint(task.model, inputs, use_reentrant=False)"
    },
    "a schedule of learning rates": {
        "clear": "{clear}\nif not hasattr(task, 'rates'):\n"
        "    task.rates = torch.optim.lr_scheduler.StepLR(task.optimizer, 5, 0.9)",
        "update": "{update}\ntask.rates.step()",
    },
    "a warm-up that counts by itself": {
        "clear": "{clear}\nCOUNT.append(1)\ntask.optimizer.param_groups[0]['lr'] = 1e-2 * min(1, len(COUNT) / 3)"
    },
    "a warm-up from 0 that lasts an epoch": {"clear": "{clear}\ntask.optimizer.param_groups[0]['lr'] = 0.0"},
    "a moving average of the model": {
        "leave": "{leave}\nif not hasattr(task, 'average'):\n    task.average = copy.deepcopy(task.model)\n"
        "with torch.no_grad():\n    for one, now in zip(task.average.parameters(), task.model.parameters()):\n"
        "        one.lerp_(now, 0.1)"
    },
    "a scaler of its own that skips the first step": {
        "clear": "{clear}\nif not hasattr(task, 'own'):\n"
        "    task.own = torch.amp.GradScaler('cpu', init_scale=2.0**120)",
        "differentiate": "task.own.scale(loss * 2.0**20).backward()",
        "update": "task.own.step(task.optimizer)\ntask.own.update(2.0**-20)",
    },
    "a batch put on its device": {"predict": "predictions = task.model(inputs.to('cpu').to(task.device))"},
    "frozen layers": {"clear": "{clear}\ntask.model.blocks[0].requires_grad_(False)"},
    "gradients of several batches summed": {
        "clear": "COUNT.append(1)\nif len(COUNT) % 3 == 1:\n    {clear}",
        "update": "if len(COUNT) % 3 == 0:\n    {update}",
    },
    "an update by another optimizer": {
        "clear": "{clear}\nif not hasattr(task, 'inner'):\n"
        "    task.inner = type(task.optimizer)(task.optimizer.param_groups)",
        "update": "task.inner.step()",
    },
    "a closure of an optimizer that does not need one": {
        **WITHIN,
        "update": CLOSED.format("{clear}", "loss.backward()"),
    },
    "dropout": {"predict": "predictions = F.dropout(task.model(inputs), 0.1)"},
}
"""Unusual lines in the canonical step that break no property."""
