import io
import json
import tarfile
import zipfile

import pytest
import torch
from safetensors.torch import save_file

import narrows
from narrows.checkpoints.families.source import open_source, read_yaml
from narrows.errors import ModelError


def refused(path, message, opened=open_source):
    with pytest.raises(ModelError, match=message) as caught:
        opened(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "text",
    [
        "!!int ''",
        "!!float ''",
        "!!bool x",
        "!!timestamp x",
        "!!binary é",
        "!!int 0x",
        "? [1]\n: 2",
        "!!python/name:x y",
    ],
)
def test_yaml_with_wrong_values_after_tags(tmp_path, text):
    save_file({"a": torch.zeros(3)}, tmp_path / "model.safetensors")
    (tmp_path / "config.yaml").write_text(f"a: {text}\n" if text[0] == "!" else text)
    refused(tmp_path, "cannot be read as YAML")


def test_yaml_with_references_is_refused():
    lists = "a: &a0 {x: 1}\n" + "".join(f"b{i}: &a{i + 1} {{<<: [{f'*a{i}, ' * 9}]}}\n" for i in range(9))
    with pytest.raises(ValueError, match="without references"):
        read_yaml(lists)
    with pytest.raises(ValueError, match="at most 131072 bytes"):
        read_yaml("a" * (1 << 18))
    assert read_yaml("a: {b: [1, x]}\nc: 1.5") == {"a": {"b": [1, "x"]}, "c": 1.5}


@pytest.mark.parametrize(
    ("g", "v"),
    [
        (torch.tensor(1.0), torch.tensor(1.0)),
        (torch.zeros(0), torch.zeros(0)),
        (torch.ones(1, 1), torch.ones(1, 0)),
        (torch.ones(2, 1, dtype=torch.int32), torch.ones(2, 3)),
        (torch.ones(2, 1), torch.ones(2, 3, dtype=torch.complex64)),
        (torch.ones(2, 3), torch.ones(2, 3)),
    ],
)
def test_weight_norm_of_other_shapes_and_types(tmp_path, g, v):
    save_file({"a.weight_g": g, "a.weight_v": v}, tmp_path / "model.safetensors")
    refused(tmp_path, "to have a length for each filter of a.weight_v")


def test_shapes_that_the_file_cannot_hold(tmp_path):
    save_file({"codebook": torch.zeros(1 << 40, 0)}, tmp_path / "model.safetensors")
    refused(tmp_path, r"got 1099511627776 x 0 numbers in 'codebook'")
    one = torch.ones(1, dtype=torch.float16)
    torch.save({"a": torch.as_strided(one, (1 << 40,), (0,)), "b": one}, tmp_path / "weights.pth")
    refused(tmp_path / "weights.pth", r"got 1099511627776 numbers in 'a'")
    save_file({"a": torch.zeros(0), "b": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert open_source(tmp_path / "model.safetensors").tensors["a"].shape == (0,)


@pytest.mark.parametrize(
    "kind",
    [
        lambda: torch.zeros(3, device="meta"),
        lambda: torch.zeros(3).to_sparse(),
        lambda: torch.quantize_per_tensor(torch.zeros(3), 1.0, 0, torch.qint8),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of a newer torch: quantized tensors are deprecated
def test_tensors_of_other_kinds(tmp_path, kind):
    torch.save({"a": kind(), "b": torch.zeros(9)}, tmp_path / "weights.pth")
    refused(tmp_path / "weights.pth", "expected only dense tensors in .* got another as 'a'")


def test_too_many_and_too_long_names(tmp_path):
    save_file({f"a{i}": torch.zeros(1) for i in range(20_001)}, tmp_path / "model.safetensors")
    refused(tmp_path, "expected at most 20000 tensors")
    save_file({"a" * 301: torch.zeros(1)}, tmp_path / "model.safetensors")
    refused(tmp_path, "expected names of at most 300 characters")


@pytest.mark.parametrize("end", [{}, {"a": 1}])
def test_dictionaries_that_share_their_values(tmp_path, end):
    for _ in range(7):
        end = {str(i): end for i in range(100)}
    torch.save(end, tmp_path / "weights.pth")
    refused(tmp_path / "weights.pth", "expected at most 100000 values")


def test_compressed_archives(tmp_path):
    torch.save({"a": torch.zeros(1 << 20)}, tmp_path / "stored.pth")
    with zipfile.ZipFile(tmp_path / "stored.pth") as stored, zipfile.ZipFile(tmp_path / "small.pth", "w", 8) as small:
        for name in stored.namelist():
            small.writestr(name, stored.read(name))
    assert (tmp_path / "small.pth").stat().st_size < 100_000
    refused(tmp_path / "small.pth", "expected parts that are not compressed")


@pytest.mark.parametrize("size", range(0, 400, 7))
def test_cut_off_files_of_torch_save(tmp_path, size):
    file = io.BytesIO()
    torch.save({"a": torch.zeros(9), "b": {"c": 1}}, file, _use_new_zipfile_serialization=False)
    (tmp_path / "weights.pth").write_bytes(file.getvalue()[:size])
    refused(tmp_path / "weights.pth", "cannot be read")


def test_many_headers_in_a_row_of_an_archive(tmp_path):
    header = tarfile.TarInfo("x")
    header.type = tarfile.GNUTYPE_LONGNAME
    (tmp_path / "a.nemo").write_bytes(header.tobuf(tarfile.GNU_FORMAT) * 5000)
    refused(tmp_path / "a.nemo", "cannot be read as a tar archive")


@pytest.mark.parametrize("number", ["999999999999999999", "9" * 200])
def test_numbers_in_names_make_no_work(tmp_path, number):
    authors = {"encoder.model.0.conv.conv.weight": torch.zeros(4, 1, 7)}
    mimi = {
        "quantizer.rvq_first.vq.layers.0._codebook.embedding_sum": torch.zeros(2, 2),
        f"encoder.model.{number}.conv.conv.weight": torch.zeros(4, 4, 3),
    }
    encodec = {
        f"encoder.model.{number}.lstm.weight_ih_l0": torch.zeros(4, 1),
        "quantizer.vq.layers.0._codebook.embed": torch.zeros(2, 2),
    }
    for tensors in (mimi, encodec):
        save_file(authors | tensors, tmp_path / "model.safetensors")
        refused(tmp_path, r"expected a tensor encoder\.layers\.3\.", narrows.load)


def test_usage_of_other_shapes(tmp_path):
    for usage in (torch.zeros(()), torch.zeros(5), torch.zeros(1, 5)):
        tensors = {
            "encoder.model.0.conv.conv.weight": torch.zeros(4, 1, 7),
            "quantizer.rvq_first.vq.layers.0._codebook.embedding_sum": torch.zeros(1, 2),
            "quantizer.rvq_first.vq.layers.0._codebook.cluster_usage": usage,
        }
        save_file(tensors, tmp_path / "model.safetensors")
        refused(tmp_path, "expected 1 numbers in .*usage", narrows.load)


def test_long_values_are_shortened(tmp_path):
    save_file({"decoder.layers.0.conv.weight": torch.zeros(4, 1, 7)}, tmp_path / "model.safetensors")
    config = {"model_type": "mimi", "num_attention_heads": ["x"] * 9999, "num_key_value_heads": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    refused(tmp_path, "expected num_key_value_heads of", narrows.load)
