# MMSegmentation's recipe for Cityscapes at eight images a step: SGD, poly to 1e-4 over 80k.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4),
    # The one place where heads and gates are told apart from the backbone, for every model and
    # every attention alike. The longest key that a parameter's name contains is the one that
    # counts, so `attention` goes before `head`. All factors 1: the baseline's own recipe.
    paramwise_cfg=dict(
        custom_keys={
            "head": dict(lr_mult=1.0, decay_mult=1.0),
            "attention": dict(lr_mult=1.0, decay_mult=1.0),
        }
    ),
)
train_cfg = dict(
    type="ReplayableTrainLoop",
    max_iters=80000,
    val_interval=8000,
    micro_batch_size=None,  # images that a GPU holds at once; None: its whole share of a step
)
# A scheduler that ends with the training follows `train_cfg.max_iters` when that is overridden.
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=80000, by_epoch=False)]
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
