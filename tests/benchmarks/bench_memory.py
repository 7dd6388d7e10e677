"""Peak memory of evaluation for n and for 4 n photos; needs the photos and the pretrained backbones.

python -m pytest tests/benchmarks/bench_memory.py -s
"""

import subprocess
import sys

PHOTOS = 500
CODE = """
import resource, sys
from dogpoc import dataset, inference
from dogpoc.methods import METHODS
backbone = METHODS["mobilenetv2-frozen"].backbones[0]
network = inference.build(backbone, 47)
inference.load_backbone(network, backbone)
classifier = inference.compile_classifier(network, backbone.preprocessing, breeds=range(47))
paths = sorted(dataset.images_root(dataset.find_dataset("dogs47")).glob("*/*.jpg"))[: int(sys.argv[1])]
for _answer in inference.stream(classifier, paths):
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak(photos: int) -> int:
    """Peak resident memory, in MiB, of a process that streams so many photos through MobileNetV2."""
    command = [sys.executable, "-c", CODE, str(photos)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_peak_memory_does_not_grow_with_the_number_of_photos(real_photos):
    once, four_times = peak(PHOTOS), peak(4 * PHOTOS)
    print(f"\n{PHOTOS} photos: {once} MiB; {4 * PHOTOS} photos: {four_times} MiB")
    assert four_times < 1.1 * once
