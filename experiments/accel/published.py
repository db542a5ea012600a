"""What the papers report, in the order of ``datasets``; figures read off charts have no bar."""

from typing import Any

PUBLISHED: dict[str, dict[str, Any]] = {
    "gcnax": {
        "source": "Li et al., GCNAX, HPCA 2021: tables of cycles and of off-chip accesses",
        "datasets": ["cora", "citeseer", "pubmed", "nell", "reddit"],
        "elements_single": [
            [207446, 97338],
            [386351, 124874],
            [4839367, 1041408],
            [272550109, 463651357],
            [2479084738, 1423139406],
        ],
        "elements_best": [
            [172131, 85084],
            [300925, 104243],
            [3800622, 860549],
            [188541177, 320259165],
            [1780902301, 1095478962],
        ],
        "cycles": [200000, 250000, 1800000, 76000000, 1300000000],
        "cycles_layers": [
            [120000, 87000],
            [170000, 85000],
            [1400000, 440000],
            [17000000, 59000000],
            [840000000, 410000000],
        ],
        "awb_cycles": [260000, 390000, 2900000, 150000000, 1900000000],
        "awb_cycles_layers": [
            [150000, 110000],
            [260000, 130000],
            [2200000, 710000],
            [50000000, 100000000],
            [1300000000, 620000000],
        ],
        "hygcn_cycles": [2300000, 2500000, 12000000, 1900000000, 3800000000],
        "gcnax_megabytes_chart": [2.3, 3.9, 45, 5600, 30000],
        "awb_megabytes_chart": [3.8, 6.4, 122, 18400, 93000],
        "hygcn_megabytes_chart": [18.2, 40, 322, 31500, 315000],
    },
    "igcn": {
        "source": "Geng et al., I-GCN, MICRO 2021, table 2, microseconds",
        "datasets": ["cora", "citeseer", "pubmed", "nell", "reddit"],
        "igcn_algo": [1.3, 1.9, 15.1, 590, 30000],
        "awb_algo": [2.3, 4.0, 30, 1600, 32000],
        "igcn_hy": [8.2, 12.9, 110, 1200, 46000],
        "awb_hy": [17, 29, 230, 3300, 50000],
        "pruned_aggregation": [0.39, 0.4, 0.35, 0.46, 0.29],
    },
    "gcod": {
        "source": "You et al., GCoD, HPCA 2022, table VI: speedups over PyG on a CPU",
        "datasets": ["cora", "citeseer", "pubmed", "nell-5414", "reddit"],
        "awb": [1063, 913, 466, 1425, 9242],
        "accelerator": [1824, 1692, 901, 2294, 39881],
        "sparsified": [2031, 1763, 970, 2459, 44827],
        "eight_bits": [4373, 3459, 1931, 4915, 90301],
        "pyg_gpu": [4, 5, 20, 25, 0],
    },
    "gcnear": {
        "source": "Zhou et al., GCNear, arXiv 2111.00680: text and figure 13",
        "datasets": ["nell", "reddit", "products"],
        "exchange": [7.8, 2.3],
        "channel_saving": [0.181, 0.957, 0.783],
        "gcn": [15.9, 14.4, 24.5],
        "sage": [23.8, 15.1, 24.8],
        "gin": [38.4, 20.6, 47.7],
    },
}
