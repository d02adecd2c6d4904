"""The two examples at the end of each command's help."""

EXAMPLES = {
    "init": ("", "train.py --force"),
    "run": ("--quick", "--workload resnet --loop compile,amp_bf16 --budget 20"),
    "train": ("--quick", "--workload resnet --loop amp_fp16,accumulate_2 --seeds 5"),
    "ab": ("--workload resnet --base loop=eager --head loop=amp_bf16", "--base rev=main --loop loopmark_task.py:step"),
    "find-batch": ("--workload resnet --loop amp_bf16,checkpoint", "--workload gpt --batch-size 4 --budget 300"),
    "ceilings": ("--budget 60 --threads 1", "--device cuda:1 --json"),
    "trace": ("amp_bf16+compile", "loopmark_task.py:step --workload gpt --steps 5 --out my-trace"),
    "memory": ("eager accumulate_4 compile --workload gpt", "loopmark_task.py:step --json"),
    "calibrate": ("--workload resnet --loop eager", "--show"),
    "check": ("latest --baseline latest~1", "NEW --baseline OLD --threshold forward=5% --junit check.xml"),
    "compare": ("results", "OLD NEW --workload resnet --loop amp_bf16,compile"),
    "history": ("results", "results --workload resnet --loop compile --json"),
    "list": ("", "| grep compile"),
    "runs": ("", "results/reference --json"),
    "report": ("latest", "results/MACHINE/RUN --json"),
    "verify": ("eager compile", "loopmark_task.py:step+compile --workload gpt --json"),
    "doctor": ("", "--device cpu --json"),
    "export": ("results/MACHINE/RUN --to openmetrics", "results/MACHINE/RUN --to bencher --output bencher.json"),
    "import": ("before.json", 'before-1.json before-2.json --baseline "test_step[plain]"'),
}


def epilog(command: str) -> str:
    """The examples of ``command`` as the end of its help, in lines that click does not wrap (``\\b``)."""
    lines = (f"  loopmark {command} {arguments}".rstrip() for arguments in EXAMPLES[command])
    return "\n".join(("\b", "Examples:", *lines))
