"""Where the shards of a data set are tokenized; the `engine` of `narrows.tokenize`.

processes.Processes(workers)  processes on this machine
ranks.Rank(rank, world)       this process, one of several that something else has started, such as Slurm
ray.Actors(workers)           actors of Ray
schedule.Engine               the protocol of engines
"""
