"""What makes training fast on CPUs and changes no result; a reader of the paper can pass it over.

Layers whose convolutions suit a CPU (layers), ranks of one machine that meet in shared memory
(shared_memory), and freed memory that is kept (memory; executors have huge_page_properties of
jobs.runtime.spark beside it).
"""
