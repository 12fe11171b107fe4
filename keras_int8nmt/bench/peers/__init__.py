"""`bench peers`: one trained KerasHub translation model in INT8, by us and by other libraries."""
