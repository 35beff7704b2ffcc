"""Repositories, images, tags and layers, durable in the database; the layers' bytes lie among the registry's blobs.

A layer is part of a repository once it is linked there: what one repository has, another does not show, though both
share the bytes. A manifest is stored only when everything that it points to is linked, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from lambent.base.db import Connection, Database, Migration, Row
from lambent.services.ecr import errors
from lambent.services.ecr.manifests import Manifest
from lambent.services.ecr.names import Registry, RepositoryName
from lambent.services.ecr.records import Image, Layer, Repository
from lambent.services.ecr.tags import may_move

KEEP_UNUSED = 24 * 3600.0  # seconds that a layer which no image uses stays: its push may still be under way

_KEY = "account TEXT NOT NULL, region TEXT NOT NULL, repository TEXT NOT NULL"
_OF_REPOSITORY = (
    "FOREIGN KEY (account, region, repository) REFERENCES ecr_repositories (account, region, repository)"
    " ON DELETE CASCADE"
)
_OF_IMAGE = (
    "FOREIGN KEY (account, region, repository, digest) REFERENCES ecr_images (account, region, repository, digest)"
    " ON DELETE CASCADE"
)
MIGRATIONS = (
    Migration(
        "ecr",
        1,
        "repositories, images, tags and layers",
        (
            f"CREATE TABLE ecr_repositories ({_KEY}, document TEXT NOT NULL,"
            " PRIMARY KEY (account, region, repository))",
            f"CREATE TABLE ecr_images ({_KEY}, digest TEXT NOT NULL, manifest TEXT NOT NULL, document TEXT NOT NULL,"
            f" PRIMARY KEY (account, region, repository, digest), {_OF_REPOSITORY})",
            f"CREATE TABLE ecr_tags ({_KEY}, tag TEXT NOT NULL, digest TEXT NOT NULL,"
            f" PRIMARY KEY (account, region, repository, tag), {_OF_IMAGE})",
            f"CREATE TABLE ecr_layers ({_KEY}, digest TEXT NOT NULL, blob TEXT NOT NULL, size BIGINT NOT NULL,"
            " media_type TEXT, linked DOUBLE PRECISION NOT NULL,"
            f" PRIMARY KEY (account, region, repository, digest), {_OF_REPOSITORY})",
            # what an image points to: its layers, config and children
            f"CREATE TABLE ecr_references ({_KEY}, digest TEXT NOT NULL, target TEXT NOT NULL,"
            f" PRIMARY KEY (account, region, repository, digest, target), {_OF_IMAGE})",
            "CREATE INDEX ecr_references_by_target ON ecr_references (account, region, repository, target)",
            "CREATE INDEX ecr_layers_by_blob ON ecr_layers (blob)",
        ),
    ),
)
_HERE = "account = ? AND region = ? AND repository = ?"


class ImageStore:
    """Methods raise ECR's errors for what is not there."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # Repositories

    async def create(self, repository: Repository) -> None:
        """Raises RepositoryAlreadyExistsException."""

        def work(connection: Connection) -> None:
            made = connection.execute(
                "INSERT INTO ecr_repositories (account, region, repository, document) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING RETURNING repository",
                (*_key(repository.name), repository.document()),
            )
            if not made:
                raise errors.repository_exists(repository.name)

        await self._db.write(work)

    async def repository(self, name: RepositoryName) -> Repository:
        return await self._db.read(lambda connection: demand(connection, name))

    async def repositories(self, registry: Registry, after: str, most: int) -> list[Repository]:
        """In the order of their names, from the first behind `after`."""
        rows = await self._db.read(
            lambda connection: connection.execute(
                "SELECT repository, document FROM ecr_repositories WHERE account = ? AND region = ? AND repository > ?"
                " ORDER BY repository LIMIT ?",
                (registry.account, registry.region, after, most),
            )
        )
        return [Repository.of(RepositoryName(registry, name), document) for name, document in rows]

    async def every_repository(self) -> list[Repository]:
        """Of all accounts and regions: for work that goes on in the background."""
        rows = await self._db.read(
            lambda connection: connection.execute("SELECT account, region, repository, document FROM ecr_repositories")
        )
        return [
            Repository.of(RepositoryName(Registry(account, region), name), document)
            for account, region, name, document in rows
        ]

    async def change(self, name: RepositoryName, change: Callable[[Repository], Repository]) -> Repository:
        """Replace a repository's settings; `change` runs in another thread, and what it raises comes out here."""

        def work(connection: Connection) -> Repository:
            changed = change(demand(connection, name))
            connection.execute(
                f"UPDATE ecr_repositories SET document = ? WHERE {_HERE}",
                (changed.document(), *_key(name)),
            )
            return changed

        return await self._db.write(work)

    async def delete(self, name: RepositoryName, *, force: bool) -> Repository:
        """Raises RepositoryNotEmptyException unless `force`."""

        def work(connection: Connection) -> Repository:
            repository = demand(connection, name)
            found = connection.execute(f"SELECT digest FROM ecr_images WHERE {_HERE} LIMIT 1", _key(name))
            if found and not force:
                raise errors.not_empty(name)
            connection.execute(f"DELETE FROM ecr_repositories WHERE {_HERE}", _key(name))
            return repository

        return await self._db.write(work)

    # Images

    async def images(self, name: RepositoryName) -> list[Image]:
        """All of a repository, in the order of their digests."""

        def work(connection: Connection) -> list[Image]:
            demand(connection, name)
            tags: dict[str, list[str]] = {}
            for tag, digest in connection.execute(f"SELECT tag, digest FROM ecr_tags WHERE {_HERE}", _key(name)):
                tags.setdefault(digest, []).append(tag)
            rows = connection.execute(
                f"SELECT digest, document FROM ecr_images WHERE {_HERE} ORDER BY digest",
                _key(name),
            )
            return [Image.of(digest, document, tags.get(digest, ())) for digest, document in rows]

        return await self._db.read(work)

    async def image(self, name: RepositoryName, digest: str | None, tag: str | None) -> tuple[Image, str]:
        """An image and the text of its manifest, by its digest, its tag, or both. Raises ImageNotFoundException."""

        def work(connection: Connection) -> tuple[Image, str]:
            demand(connection, name)
            return find(connection, name, digest, tag)

        return await self._db.read(work)

    async def tags(self, name: RepositoryName, after: str, most: int) -> list[str]:
        """In lexical order, from the first behind `after`."""

        def work(connection: Connection) -> list[str]:
            demand(connection, name)
            query = f"SELECT tag FROM ecr_tags WHERE {_HERE} AND tag > ? ORDER BY tag LIMIT ?"
            return [tag for (tag,) in connection.execute(query, (*_key(name), after, most))]

        return await self._db.read(work)

    async def referrers(self, name: RepositoryName, subject: str) -> list[tuple[Image, int]]:
        """The manifests that are about `subject`, each with the size of its own text in bytes."""

        def work(connection: Connection) -> list[tuple[Image, int]]:
            demand(connection, name)
            rows = connection.execute(
                f"SELECT digest, document, manifest FROM ecr_images WHERE {_HERE} ORDER BY digest",
                _key(name),
            )
            images = [(Image.of(digest, document, ()), len(text.encode())) for digest, document, text in rows]
            return [found for found in images if found[0].subject == subject]

        return await self._db.read(work)

    async def put(
        self, name: RepositoryName, manifest: Manifest, tag: str | None, now: float, *, strict: bool
    ) -> tuple[Image, bool]:
        """Store a manifest and move `tag` to it; (the image, whether anything changed).

        Raises LayersNotFoundException, ReferencedImagesNotFoundException, ImageTagAlreadyExistsException for an
        immutable tag and, when `strict` (as PutImage is, the registry's HTTP interface is not),
        ImageAlreadyExistsException where nothing would change.
        """

        def work(connection: Connection) -> tuple[Image, bool]:
            repository = demand(connection, name)
            _demand_parts(connection, name, manifest)
            known = _known(connection, name, manifest.digest)
            holder = _digest_of(connection, name, tag) if tag else None
            if known and (tag is None or holder == manifest.digest):
                if strict:
                    raise errors.image_exists(name, manifest.digest, tag)
                return find(connection, name, manifest.digest, None)[0], False
            if tag and holder not in (None, manifest.digest) and not may_move(repository, tag):
                raise errors.tag_is_immutable(name, tag)
            if not known:
                _insert(connection, name, manifest, now)
            if tag:
                connection.execute(
                    "INSERT INTO ecr_tags (account, region, repository, tag, digest) VALUES (?, ?, ?, ?, ?)"
                    " ON CONFLICT (account, region, repository, tag) DO UPDATE SET digest = excluded.digest",
                    (*_key(name), tag, manifest.digest),
                )
            return find(connection, name, manifest.digest, None)[0], True

        return await self._db.write(work)

    async def pulled(self, name: RepositoryName, digest: str, now: float) -> None:
        """Note when an image was last pulled."""

        def work(connection: Connection) -> None:
            rows = connection.execute(
                f"SELECT document FROM ecr_images WHERE {_HERE} AND digest = ?",
                (*_key(name), digest),
            )
            if rows:
                image = replace(Image.of(digest, rows[0][0], ()), pulled=now)
                connection.execute(
                    f"UPDATE ecr_images SET document = ? WHERE {_HERE} AND digest = ?",
                    (image.document(), *_key(name), digest),
                )

        await self._db.write(work)

    async def remove(self, name: RepositoryName, digest: str | None, tag: str | None, *, untag_only: bool) -> Image:
        """Take a tag away, or an image with all its tags; the image as it was.

        Without its last tag an image goes too, unless `untag_only`. Raises ImageNotFoundException, and
        ImageReferencedByManifestList (a failure code, no exception of the model) for what an index still holds.
        """

        def work(connection: Connection) -> Image:
            demand(connection, name)
            image, _text = find(connection, name, digest, tag)
            if digest is None and (untag_only or len(image.tags) > 1):
                connection.execute(f"DELETE FROM ecr_tags WHERE {_HERE} AND tag = ?", (*_key(name), tag))
                return image
            holders = connection.execute(
                f"SELECT digest FROM ecr_references WHERE {_HERE} AND target = ?",
                (*_key(name), image.digest),
            )
            if holders:
                raise errors.still_referenced(holder for (holder,) in holders)
            _delete(connection, name, image.digest)
            return image

        return await self._db.write(work)

    # Layers

    async def layers(self, name: RepositoryName, digests: Iterable[str]) -> dict[str, Layer]:
        """Those that the repository has, by their digests."""

        def work(connection: Connection) -> dict[str, Layer]:
            demand(connection, name)
            query = f"SELECT blob, size, media_type FROM ecr_layers WHERE {_HERE} AND digest = ?"
            found = {digest: connection.execute(query, (*_key(name), digest)) for digest in digests}
            return {digest: Layer(*rows[0]) for digest, rows in found.items() if rows}

        return await self._db.read(work)

    async def link(self, name: RepositoryName, digest: str, blob: str, size: int, now: float) -> bool:
        """Make a blob that is stored part of the repository; False when it was already."""

        def work(connection: Connection) -> bool:
            demand(connection, name)
            query = f"SELECT digest FROM ecr_layers WHERE {_HERE} AND digest = ?"
            known = bool(connection.execute(query, (*_key(name), digest)))
            connection.execute(
                "INSERT INTO ecr_layers (account, region, repository, digest, blob, size, linked)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (account, region, repository, digest) DO UPDATE SET linked = excluded.linked",
                (*_key(name), digest, blob, size, now),
            )
            return not known

        return await self._db.write(work)

    async def unlink(self, name: RepositoryName, digest: str) -> bool:
        """Take a layer out of the repository; False when it was not there. Images that use it are broken then."""

        def work(connection: Connection) -> bool:
            demand(connection, name)
            query = f"DELETE FROM ecr_layers WHERE {_HERE} AND digest = ? RETURNING digest"
            return bool(connection.execute(query, (*_key(name), digest)))

        return await self._db.write(work)

    async def forget_unused(self, before: float) -> None:
        """Unlink layers that no image uses and that were last pushed before that time."""
        await self._db.write(
            lambda connection: connection.execute(
                "DELETE FROM ecr_layers WHERE linked < ? AND NOT EXISTS (SELECT 1 FROM ecr_references"
                " WHERE ecr_references.account = ecr_layers.account AND ecr_references.region = ecr_layers.region"
                " AND ecr_references.repository = ecr_layers.repository"
                " AND ecr_references.target = ecr_layers.digest)",
                (before,),
            )
        )

    async def linked(self) -> set[str]:
        """What some repository has: it must stay among the blobs."""
        rows = await self._db.read(lambda connection: connection.execute("SELECT DISTINCT blob FROM ecr_layers"))
        return {blob for (blob,) in rows}


# Inside a transaction


def _key(name: RepositoryName) -> tuple[str, str, str]:
    return name.registry.account, name.registry.region, name.name


def demand(connection: Connection, name: RepositoryName) -> Repository:
    """Raises RepositoryNotFoundException."""
    rows = connection.execute(f"SELECT document FROM ecr_repositories WHERE {_HERE}", _key(name))
    if not rows:
        raise errors.no_repository(name)
    return Repository.of(name, rows[0][0])


def find(connection: Connection, name: RepositoryName, digest: str | None, tag: str | None) -> tuple[Image, str]:
    """Raises ImageNotFoundException."""
    wanted = digest or (_digest_of(connection, name, tag) if tag else None)
    if wanted is not None and digest is not None and tag and _digest_of(connection, name, tag) != digest:
        wanted = None
    rows: Sequence[Row] = ()
    if wanted is not None:
        query = f"SELECT document, manifest FROM ecr_images WHERE {_HERE} AND digest = ?"
        rows = connection.execute(query, (*_key(name), wanted))
    if wanted is None or not rows:
        raise errors.no_image(name, digest, tag)
    query = f"SELECT tag FROM ecr_tags WHERE {_HERE} AND digest = ?"
    tags = [found for (found,) in connection.execute(query, (*_key(name), wanted))]
    return Image.of(wanted, rows[0][0], tags), rows[0][1]


def _digest_of(connection: Connection, name: RepositoryName, tag: str) -> str | None:
    rows = connection.execute(f"SELECT digest FROM ecr_tags WHERE {_HERE} AND tag = ?", (*_key(name), tag))
    return rows[0][0] if rows else None


def _known(connection: Connection, name: RepositoryName, digest: str) -> bool:
    query = f"SELECT digest FROM ecr_images WHERE {_HERE} AND digest = ?"
    return bool(connection.execute(query, (*_key(name), digest)))


def _demand_parts(connection: Connection, name: RepositoryName, manifest: Manifest) -> None:
    """Everything that a manifest points to must be in its repository; its subject may come later."""
    query = f"SELECT digest FROM ecr_layers WHERE {_HERE} AND digest = ?"
    wanted = [blob.digest for blob in manifest.blobs if not blob.elsewhere]
    if missing := [digest for digest in wanted if not connection.execute(query, (*_key(name), digest))]:
        raise errors.no_layers(name, missing)
    children = [child.digest for child in manifest.children]
    if missing := [digest for digest in children if not _known(connection, name, digest)]:
        raise errors.no_referenced_images(name, missing)


def _insert(connection: Connection, name: RepositoryName, manifest: Manifest, now: float) -> None:
    size = manifest.size
    if manifest.children:
        size = max(find(connection, name, child.digest, None)[0].size for child in manifest.children)
    subject = manifest.subject.digest if manifest.subject else None
    image = Image(
        manifest.digest,
        manifest.media_type,
        size,
        now,
        artifact_type=manifest.artifact_type,
        subject=subject,
        annotations=manifest.annotations,
    )
    connection.execute(
        "INSERT INTO ecr_images (account, region, repository, digest, manifest, document) VALUES (?, ?, ?, ?, ?, ?)",
        (*_key(name), manifest.digest, manifest.text, image.document()),
    )
    for target in {part.digest for part in (*manifest.blobs, *manifest.children)}:
        connection.execute(
            "INSERT INTO ecr_references (account, region, repository, digest, target) VALUES (?, ?, ?, ?, ?)",
            (*_key(name), manifest.digest, target),
        )
    for blob in manifest.blobs:
        connection.execute(
            f"UPDATE ecr_layers SET media_type = ? WHERE {_HERE} AND digest = ?",
            (blob.media_type, *_key(name), blob.digest),
        )


def _delete(connection: Connection, name: RepositoryName, digest: str) -> None:
    """Remove an image, and from the repository the layers that only it used."""
    query = f"SELECT target FROM ecr_references WHERE {_HERE} AND digest = ?"
    targets = [target for (target,) in connection.execute(query, (*_key(name), digest))]
    connection.execute(f"DELETE FROM ecr_images WHERE {_HERE} AND digest = ?", (*_key(name), digest))
    for target in targets:
        used = f"SELECT 1 FROM ecr_references WHERE {_HERE} AND target = ? LIMIT 1"
        if not connection.execute(used, (*_key(name), target)):
            connection.execute(f"DELETE FROM ecr_layers WHERE {_HERE} AND digest = ?", (*_key(name), target))
