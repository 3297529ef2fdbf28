%% Starts the stand-ins on a node: stand_in:start("POLICIES").
-module(stand_in).
-export([start/1]).

start([Root]) ->
    Owner = self(),
    spawn(fun() ->
        router_policy_store:start(Root),
        router_circuit_breaker:start(),
        Owner ! ready,
        receive stop -> ok end
    end),
    receive ready -> ok end.
