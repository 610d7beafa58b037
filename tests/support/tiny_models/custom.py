"""Classes of a user's own: one that is told labels, one that encodes prompts and has a VAE."""

SOURCE = """
import torch


class Told(torch.nn.Module):
    parametrisation = "v_prediction"
    image_size = 8
    sample_shape = (3, 8, 8)

    def __init__(self, n_labels, steps=1000):
        super().__init__()
        torch.manual_seed(0)
        self.labels = [f"label {number}" for number in range(n_labels)]
        self.alphas_cumprod = torch.linspace(0.999, 0.001, steps, dtype=torch.float64)
        self.network = torch.nn.Conv2d(3, 3, 3, padding=1)
        self.embedding = torch.nn.Embedding(n_labels, 3)
        self.time = torch.nn.Linear(1, 3)

    def forward(self, x, time, condition):
        shift = self.embedding(condition) + self.time(time[:, None] / 1000)
        return self.network(x + shift[:, :, None, None])


class Encoding(torch.nn.Module):
    parametrisation = "flow"
    image_size = 8
    sample_shape = (4, 4, 4)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.vae = torch.nn.Conv2d(3, 4, 2, stride=2)
        self.text = torch.nn.Embedding(256, 4)
        self.network = torch.nn.Conv2d(4, 4, 3, padding=1)

    def encode_images(self, images):
        return self.vae(images)

    def encode_prompts(self, prompts):
        codes = torch.zeros(len(prompts), 16, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            letters = prompt.encode()[:16]
            codes[row, : len(letters)] = torch.tensor(list(letters))
        codes = codes.to(self.text.weight.device)
        return {"hidden": self.text(codes), "mask": codes > 0}

    def forward(self, x, time, condition):
        hidden, mask = condition["hidden"], condition["mask"]
        assert hidden.dtype == torch.float32 and mask.dtype == torch.bool
        shift = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True) * time[:, None]
        return self.network(x) + shift[:, :, None, None]
"""


def custom(folder, kind):
    folder.mkdir()
    (folder / "classes.py").write_text(SOURCE)
    kwargs = {"Told": {"n_labels": 3}, "Encoding": {}}[kind]
    prompts = {"Told": ["label 2", "label 0"], "Encoding": ["a cat", "a dog", "an owl"]}[kind]
    return prompts, {"path": f"{folder / 'classes.py'}:{kind}", "kwargs": kwargs}
