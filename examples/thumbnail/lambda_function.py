"""Makes a thumbnail of a picture with Pillow.

Event:  {"picture": base64 of a JPEG or PNG, "width": pixels}
Answer: {"thumbnail": base64 of a JPEG, "from": {...}, "to": {...}} with width, height and bytes of both
"""

import base64
import io

from PIL import Image, ImageOps


def lambda_handler(event, context):
    given = base64.b64decode(event["picture"])
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(given))).convert("RGB")
    size = picture.size
    picture.thumbnail((event.get("width", 320), size[1]), Image.Resampling.LANCZOS)
    made = io.BytesIO()
    picture.save(made, "JPEG", quality=85, optimize=True)
    print(f"{size[0]}x{size[1]} -> {picture.width}x{picture.height}")
    return {
        "thumbnail": base64.b64encode(made.getvalue()).decode(),
        "from": {"width": size[0], "height": size[1], "bytes": len(given)},
        "to": {"width": picture.width, "height": picture.height, "bytes": len(made.getvalue())},
    }
