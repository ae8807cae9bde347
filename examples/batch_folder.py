"""Find the people in every picture of a folder, eight at a time: python batch_folder.py FOLDER [MODEL]

Pictures whose input sizes are equal share one forward pass. The results go to people.json.
"""

import sys

import litepose
from litepose import images
from litepose.writers import PictureResult, write_results

if len(sys.argv) < 2:
    print("usage: python batch_folder.py FOLDER [MODEL]", file=sys.stderr)
    sys.exit(2)
folder = sys.argv[1]
model = sys.argv[2] if len(sys.argv) > 2 else "litepose_xs"

predict = litepose.load(model)
files_found = images.find([folder], recursive=True)
results = []
for start in range(0, len(files_found), 8):
    files = files_found[start : start + 8]
    pictures = [images.read(file) for file in files]
    for file, picture, people in zip(files, pictures, predict.batch(pictures), strict=True):
        height, width = picture.shape[:2]
        results.append(PictureResult(str(file), (width, height), people[people.scores > 0.1]))
        print(f"{file}: {len(results[-1].poses)} people")

write_results("people.json", results, format="litepose", model=predict.spec.model)
