%% A stand-in for the router's circuits, with the functions that the recipe calls.
-module(router_circuit_breaker).
-export([start/0, trip/2, get_state/2, reset_recovery_state/2]).

start() -> ets:new(?MODULE, [named_table, public]).
trip(T, P) -> ets:insert(?MODULE, {{T, P}, open}), ok.
reset_recovery_state(T, P) -> ets:insert(?MODULE, {{T, P}, closed}), ok.

get_state(T, P) ->
    case ets:lookup(?MODULE, {T, P}) of
        [{_, S}] -> {ok, S};
        [] -> {error, not_found}
    end.
