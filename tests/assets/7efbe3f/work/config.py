channels_last = False
checkpoint_activations = False
crop_size = (
    512,
    1024,
)
custom_hooks = [
    dict(type='ReportHook'),
]
custom_imports = dict(imports=[
    'psa_seg.models',
    'psa_seg.datasets',
    'psa_seg.evaluation',
    'psa_seg.engine.hooks',
    'psa_seg.engine.loop',
])
data_help = 'register at https://www.cityscapes-dataset.com, unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip into one folder, and set CITYSCAPES_ROOT to it'
data_name = 'synthetic street scenes'
data_root = 'data/cityscapes'
default_hooks = dict(
    checkpoint=dict(
        by_epoch=False, interval=2, max_keep_ckpts=2, type='CheckpointHook'),
    logger=dict(interval=1, log_metric_by_epoch=False, type='LoggerHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    timer=dict(type='IterTimerHook'))
default_scope = 'mmseg'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
exploratory = False
image_scale = (
    2048,
    1024,
)
load_from = None
log_level = 'INFO'
log_processor = dict(by_epoch=False)
loss = dict(type='CrossEntropyLoss', use_sigmoid=False)
model = dict(
    auxiliary_head=dict(
        align_corners=False,
        channels=4,
        concat_input=False,
        dropout_ratio=0.1,
        in_channels=16,
        in_index=2,
        loss_decode=dict(
            loss_weight=0.4, type='CrossEntropyLoss', use_sigmoid=False),
        norm_cfg=dict(requires_grad=True, type='SyncBN'),
        num_classes=19,
        num_convs=1,
        type='FCNHead'),
    backbone=dict(
        base_channels=4,
        contract_dilation=True,
        depth=18,
        dilations=(
            1,
            1,
            2,
            4,
        ),
        init_cfg=None,
        norm_cfg=dict(requires_grad=True, type='SyncBN'),
        norm_eval=False,
        num_stages=4,
        out_indices=(
            0,
            1,
            2,
            3,
        ),
        stem_channels=4,
        strides=(
            1,
            2,
            1,
            1,
        ),
        style='pytorch',
        type='ResNetV1c'),
    data_preprocessor=dict(
        bgr_to_rgb=True,
        mean=[
            123.675,
            116.28,
            103.53,
        ],
        pad_val=0,
        seg_pad_val=255,
        size=(
            64,
            128,
        ),
        std=[
            58.395,
            57.12,
            57.375,
        ],
        type='SegDataPreProcessor'),
    decode_head=dict(
        align_corners=False,
        attention=dict(type='PolarizedSelfAttention'),
        c1_channels=4,
        c1_in_channels=4,
        channels=8,
        dilations=(
            1,
            12,
            24,
            36,
        ),
        dropout_ratio=0.1,
        in_channels=32,
        in_index=3,
        loss_decode=dict(
            loss_weight=1.0, type='CrossEntropyLoss', use_sigmoid=False),
        norm_cfg=dict(requires_grad=True, type='SyncBN'),
        num_classes=19,
        type='PolarizedASPPHead'),
    test_cfg=dict(mode='whole'),
    train_cfg=dict(),
    type='LeanEncoderDecoder')
norm_cfg = dict(requires_grad=True, type='SyncBN')
optim_wrapper = dict(
    optimizer=dict(lr=0.01, momentum=0.9, type='SGD', weight_decay=0.0005),
    paramwise_cfg=dict(
        custom_keys=dict(
            attention=dict(decay_mult=1.0, lr_mult=1.0),
            head=dict(decay_mult=1.0, lr_mult=1.0))),
    type='OptimWrapper')
param_scheduler = [
    dict(
        begin=0,
        by_epoch=False,
        end=4,
        eta_min=0.0001,
        power=0.9,
        type='PolyLR'),
]
randomness = dict(seed=0)
resume = False
start_from = None
test_cfg = dict(type='TestLoop')
test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        data_prefix=dict(
            img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        data_root='data',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(keep_ratio=True, scale=(
                128,
                64,
            ), type='Resize'),
            dict(type='LoadLabelIds'),
            dict(type='PackSegInputs'),
        ],
        test_mode=True,
        type='RawCityscapesDataset'),
    num_workers=0,
    sampler=dict(round_up=False, shuffle=False, type='DefaultSampler'))
test_evaluator = dict(type='ConfusionMetric')
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(keep_ratio=True, scale=(
        2048,
        1024,
    ), type='Resize'),
    dict(type='LoadLabelIds'),
    dict(type='PackSegInputs'),
]
train_cfg = dict(
    max_iters=4,
    micro_batch_size=None,
    type='ReplayableTrainLoop',
    val_interval=2)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        data_prefix=dict(
            img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        data_root='data',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadLabelIds'),
            dict(
                keep_ratio=True,
                ratio_range=(
                    0.75,
                    1.5,
                ),
                scale=(
                    128,
                    64,
                ),
                type='RandomResize'),
            dict(cat_max_ratio=0.75, crop_size=(
                64,
                128,
            ), type='RandomCrop'),
            dict(prob=0.5, type='RandomFlip'),
            dict(type='PackSegInputs'),
        ],
        test_mode=False,
        type='RawCityscapesDataset'),
    num_workers=0,
    sampler=dict(type='NumberedSampler'))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadLabelIds'),
    dict(
        keep_ratio=True,
        ratio_range=(
            0.5,
            2.0,
        ),
        scale=(
            2048,
            1024,
        ),
        type='RandomResize'),
    dict(cat_max_ratio=0.75, crop_size=(
        512,
        1024,
    ), type='RandomCrop'),
    dict(prob=0.5, type='RandomFlip'),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
tta_model = dict(type='LeanTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        transforms=[
            [
                dict(keep_ratio=True, scale_factor=0.25, type='Resize'),
                dict(keep_ratio=True, scale_factor=0.375, type='Resize'),
                dict(keep_ratio=True, scale_factor=0.5, type='Resize'),
                dict(keep_ratio=True, scale_factor=0.625, type='Resize'),
                dict(keep_ratio=True, scale_factor=0.75, type='Resize'),
                dict(keep_ratio=True, scale_factor=0.875, type='Resize'),
            ],
            [
                dict(direction='horizontal', prob=0.0, type='RandomFlip'),
                dict(direction='horizontal', prob=1.0, type='RandomFlip'),
            ],
            [
                dict(type='LoadLabelIds'),
            ],
            [
                dict(type='PackSegInputs'),
            ],
        ],
        type='TestTimeAug'),
]
val_cfg = dict(type='ValLoop')
val_dataloader = dict(
    batch_size=1,
    dataset=dict(
        data_prefix=dict(
            img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        data_root='data',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(keep_ratio=True, scale=(
                128,
                64,
            ), type='Resize'),
            dict(type='LoadLabelIds'),
            dict(type='PackSegInputs'),
        ],
        test_mode=True,
        type='RawCityscapesDataset'),
    num_workers=0,
    sampler=dict(round_up=False, shuffle=False, type='DefaultSampler'))
val_evaluator = dict(type='ConfusionMetric')
vis_backends = [
    dict(type='LocalVisBackend'),
]
visualizer = dict(
    name='w2',
    type='SegLocalVisualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
    ])
work_dir = 'work'
