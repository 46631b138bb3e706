"""Find a model, download it with progress, and use it."""

import sys

import lmstudio as lms


def show(update: lms.DownloadProgressUpdate) -> None:
    """Print how far the download is."""
    print(f"\r{update.downloaded_bytes / update.total_bytes:.0%}", end="", flush=True)


def main(term: str = "pebble embed") -> None:
    """Take the recommended download of the best match. Ctrl-C cancels it, on the server as well."""
    with lms.Client() as client:
        models = client.repository.search_models(term, limit=5)
        if not models:
            print(f"Nothing matches {term!r}.")
            return
        options = models[0].get_download_options()
        for option in options:
            mark = "*" if option.is_recommended() else " "
            size = f"{option.size_bytes / 1e6:.1f} MB"
            print(f"{mark} {option.name} {option.quantization}, {size}, {option.fit_estimation}")
        chosen = next((option for option in options if option.is_recommended()), options[0])
        model_key = chosen.download(on_progress=show)
        print(f"\ndownloaded {model_key}")


if __name__ == "__main__":
    main(*sys.argv[1:])
