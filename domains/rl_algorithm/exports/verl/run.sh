#!/usr/bin/env bash
# Trains with verl 0.9 and the program of NODE. Set MODEL, TRAIN and TEST (Parquet files as verl's examples/data_preprocess
# writes them); more settings of verl can follow on the command line.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
export VERL_USE_EXTERNAL_MODULES=evolved_NODE
export EVOLVED_TOTAL_STEPS="${STEPS:-200}"

python "$here/evolved_NODE.py"
exec python -m verl.trainer.main_ppo \
    algorithm.adv_estimator=evolved_NODE \
    actor_rollout_ref.actor.policy_loss.loss_mode=evolved_NODE \
    actor_rollout_ref.actor.use_kl_loss=False \
    actor_rollout_ref.actor.entropy_coeff=0 \
    actor_rollout_ref.actor.grad_clip=1.0 \
    actor_rollout_ref.actor.ppo_epochs=1 \
    actor_rollout_ref.actor.ppo_mini_batch_size="${MINIBATCH:-64}" \
    actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu="${MICROBATCH:-16}" \
    actor_rollout_ref.actor.optim.lr="${LEARNING_RATE:-1e-6}" \
    actor_rollout_ref.model.path="${MODEL:?Set MODEL to a Hugging Face model folder}" \
    actor_rollout_ref.rollout.name="${ENGINE:-vllm}" \
    actor_rollout_ref.rollout.n="${SAMPLES:-8}" \
    actor_rollout_ref.rollout.temperature=1.0 \
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu="${MICROBATCH:-16}" \
    algorithm.use_kl_in_reward=False \
    data.train_files="${TRAIN:?Set TRAIN to a Parquet file}" \
    data.val_files="${TEST:?Set TEST to a Parquet file}" \
    data.train_batch_size="${PROMPTS:-128}" \
    data.max_prompt_length="${MAX_PROMPT:-512}" \
    data.max_response_length="${MAX_COMPLETION:-1024}" \
    trainer.n_gpus_per_node="${GPUS:-1}" \
    trainer.nnodes=1 \
    trainer.total_training_steps="$EVOLVED_TOTAL_STEPS" \
    trainer.project_name=evolved \
    trainer.experiment_name=evolved_NODE \
    trainer.logger='["console"]' \
    +ray_kwargs.ray_init.runtime_env.env_vars.PYTHONPATH="$PYTHONPATH" \
    +ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES=evolved_NODE \
    +ray_kwargs.ray_init.runtime_env.env_vars.EVOLVED_TOTAL_STEPS="'$EVOLVED_TOTAL_STEPS'" \
    "$@"
